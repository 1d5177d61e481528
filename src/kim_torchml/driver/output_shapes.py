# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's outputs by name, and the shapes of their arrays; known without torch."""


def shape_of_output(name: str, n: int) -> tuple[int, ...]:
    """Return the shape of an output's array.

    Args:
        name: KIM's name of the output, one of OUTPUT_NAMES.
        n: Number of particles.
    """
    return tuple(n if size is None else size for size in _SHAPES[name])


# None stands for the number of particles.
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "partialEnergy": (1,),
    "partialForces": (None, 3),
    "partialParticleEnergy": (None,),
    "partialVirial": (6,),
    "partialParticleVirial": (None, 6),
}

OUTPUT_NAMES = tuple(_SHAPES)
