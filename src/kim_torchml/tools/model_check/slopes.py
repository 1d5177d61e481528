# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forces beside differences of the energy, along some directions in the space of all coordinates."""

from dataclasses import dataclass

import numpy as np
import torch

from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.model_check.trial import Trial, force_scale
from kim_torchml.tools.verification.derivatives import gradient

# Single coordinates that are moved, of contributing particles and of others; and directions in which all move.
_CONTRIBUTING, _OTHERS, _ALL = 3, 1, 2
# The largest displacement of a difference, relative to the distance of neighbours.
_STEP = 0.02
# Errors of differences that are no errors of forces, relative to the greatest force.
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 2e-3}
_TOLERANCE_OF_OTHERS = 0.1
# A difference that is less certain than this tells nothing.
_LEAST_CERTAIN = 0.05


@dataclass(frozen=True)
class Slopes:
    """Forces and differences along some directions.

    Attributes:
        count: number of directions.
        largest_force: greatest component of the forces, eV/Å; 0 where the model gives none.
        difference: greatest difference of a force and a difference quotient, eV/Å.
        scale: greatest slope of the energy, eV/Å.
        error: that difference relative to the greatest force.
        limit: largest such error that is allowed.
        limit_of_none: slope below which the energy counts as independent of coordinates, eV/Å.
    """

    count: int
    largest_force: float
    difference: float
    scale: float
    error: float
    limit: float
    limit_of_none: float


def slopes_of(trial: Trial, particles: KimParticles) -> Slopes:
    """Return the forces on particles beside differences of their energy.

    Args:
        trial: The model.
        particles: The particles.
    """
    model, at = trial.model, particles.coordinates
    forces = model.compute(particles).forces
    directions = _directions(trial.random, particles)
    step = _STEP * trial.structures.nearest
    noise = trial.rounding * max(abs(model.compute(particles, forces=False).energy), 1.0)

    def energy(moved: Floats) -> float:
        return model.energy_at(particles, at + np.tensordot(moved, directions, axes=1))

    found = gradient(energy, np.zeros(len(directions)), step, noise, trial.progress)
    tolerance = _TOLERANCES.get(model.dtype, _TOLERANCE_OF_OTHERS)
    expected = np.zeros(len(directions)) if forces is None else -np.tensordot(directions, forces, axes=2)
    largest = 0.0 if forces is None else float(np.abs(forces).max())
    whole = force_scale(np.zeros(1) if forces is None else forces)
    differences = np.abs(found.values - expected) / whole
    # Differences of a model that rounds are uncertain, but not so much that anything would pass.
    limits = tolerance + np.minimum(4.0 * found.uncertainties / whole, _LEAST_CERTAIN)
    worst = int((differences / limits).argmax())
    return Slopes(
        len(directions),
        largest,
        float(differences[worst]) * whole,
        float(np.abs(found.values).max()),
        float(differences[worst]),
        float(limits[worst]),
        float(tolerance * whole + 4.0 * found.uncertainties.max()),
    )


def _directions(random: np.random.Generator, particles: KimParticles) -> Floats:
    """Return directions of coordinates, shape [directions, n, 3]: one particle moves, or all do."""
    contributing = particles.contributing.astype(bool)
    moved = [
        *random.permutation(np.flatnonzero(contributing))[:_CONTRIBUTING],
        *random.permutation(np.flatnonzero(~contributing))[:_OTHERS],
    ]
    single = np.zeros((len(moved), len(particles), 3))
    for direction, particle in enumerate(moved):
        single[direction, particle, random.integers(3)] = 1.0
    together = random.normal(size=(_ALL, len(particles), 3))
    together /= np.linalg.norm(together, axis=(1, 2), keepdims=True)
    return np.concatenate([single, together])
