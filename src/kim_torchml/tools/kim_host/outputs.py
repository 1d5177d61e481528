# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's names of what a model computes, and the shapes of the arrays that it writes to."""

ENERGY = "partialEnergy"
FORCES = "partialForces"
PARTICLE_ENERGIES = "partialParticleEnergy"
VIRIAL = "partialVirial"
PARTICLE_VIRIALS = "partialParticleVirial"
OUTPUTS = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS)


def shape_of(output: str, n: int) -> tuple[int, ...]:
    """Return the shape of an output's array for n particles."""
    shapes = {ENERGY: (1,), FORCES: (n, 3), PARTICLE_ENERGIES: (n,), VIRIAL: (6,), PARTICLE_VIRIALS: (n, 6)}
    return shapes[output]
