# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's outputs by name, and the shapes of their arrays; known without torch."""

ENERGY = "partialEnergy"
FORCES = "partialForces"
PARTICLE_ENERGIES = "partialParticleEnergy"
VIRIAL = "partialVirial"
PARTICLE_VIRIALS = "partialParticleVirial"

# None stands for the number of particles.
_SHAPES: dict[str, tuple[int | None, ...]] = {
    ENERGY: (1,),
    FORCES: (None, 3),
    PARTICLE_ENERGIES: (None,),
    VIRIAL: (6,),
    PARTICLE_VIRIALS: (None, 6),
}

OUTPUT_NAMES = tuple(_SHAPES)


def shape_of_output(name: str, n: int) -> tuple[int, ...]:
    """Return the shape of an output's array.

    Args:
        name: KIM's name of the output, one of OUTPUT_NAMES.
        n: Number of particles.
    """
    return tuple(n if size is None else size for size in _SHAPES[name])
