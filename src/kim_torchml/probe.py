# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small configuration that tells what a model's energy looks like: 5 particles, 3 of them contributing."""

import itertools

import numpy as np

from kim_torchml.inputs import Particles

# In units of the cutoff. No two are farther apart than the cutoff, and no symmetry makes anything vanish.
_POSITIONS = np.array(
    [[0.00, 0.00, 0.00], [0.61, 0.05, 0.02], [0.10, 0.62, -0.04], [0.17, 0.23, 0.58], [0.55, 0.50, 0.21]]
)
_CONTRIBUTING = np.array([True, False, True, True, False])


class _AllNeighbours:
    """Every particle is every other's neighbour."""

    def of_contributing(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        n = len(_CONTRIBUTING)
        lists = [[j for j in range(n) if j != i] for i in np.flatnonzero(_CONTRIBUTING)]
        counts = np.full(len(lists), n - 1, dtype=np.int32)
        return counts, np.array(lists, dtype=np.int32).ravel()

    def staged_edges(self, cutoff: float, n_layers: int) -> list[np.ndarray]:
        pairs = np.array(list(itertools.permutations(range(len(_CONTRIBUTING)), 2)), dtype=np.int64)
        touches_contributing = _CONTRIBUTING[pairs].any(axis=1)
        stages = [pairs[touches_contributing]] + [pairs] * (n_layers - 1)
        return [np.ascontiguousarray(stage.T) for stage in stages]


def probe_particles(cutoff: float, scale: float = 1.0, species_code: int = 0) -> Particles:
    """Return the configuration for a cutoff in Å, or one `scale` times as large; all particles are of one species."""
    codes = np.full(len(_CONTRIBUTING), species_code, dtype=np.int32)
    return Particles(_POSITIONS * (scale * cutoff), codes, _CONTRIBUTING, _AllNeighbours())
