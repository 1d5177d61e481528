# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small configurations that tell what a model's energy looks like."""

import itertools
from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs import Particles


@dataclass(frozen=True)
class ProbeShape:
    """Positions of a probe's particles in units of the cutoff; no two are farther apart than one cutoff.

    Attributes:
        positions: positions without symmetry, which would make derivatives vanish, shape [n, 3].
        contributing: whether each particle contributes, shape [n]; particles that do not come between others.
    """

    positions: np.ndarray
    contributing: np.ndarray

    def __str__(self) -> str:
        return f"{len(self.positions)} particles, {int(self.contributing.sum())} of them contributing"


FEW = ProbeShape(
    np.array([[0.00, 0.00, 0.00], [0.61, 0.05, 0.02], [0.10, 0.62, -0.04], [0.17, 0.23, 0.58], [0.55, 0.50, 0.21]]),
    np.array([True, False, True, True, False]),
)
# For models that cannot do with four neighbours: a grid, somewhat disordered.
_GRID = np.array(list(itertools.product(range(4), repeat=3)), dtype=np.float64)
MANY = ProbeShape(
    0.17 * (_GRID + 0.1 * np.sin(7.0 * _GRID @ np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [2.0, 3.0, 1.0]]))),
    np.arange(len(_GRID)) % 5 < 3,
)


class _AllNeighbours:
    """Every particle is every other's neighbour."""

    def __init__(self, contributing: np.ndarray) -> None:
        self._contributing = contributing

    def of_contributing(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        n = len(self._contributing)
        lists = [[j for j in range(n) if j != i] for i in np.flatnonzero(self._contributing)]
        counts = np.full(len(lists), n - 1, dtype=np.int32)
        return counts, np.array(lists, dtype=np.int32).ravel()

    def staged_edges(self, cutoff: float, n_layers: int) -> list[np.ndarray]:
        pairs = np.array(list(itertools.permutations(range(len(self._contributing)), 2)), dtype=np.int64)
        touches_contributing = self._contributing[pairs].any(axis=1)
        stages = [pairs[touches_contributing]] + [pairs] * (n_layers - 1)
        return [np.ascontiguousarray(stage.T) for stage in stages]


def probe_particles(shape: ProbeShape, cutoff: float, scale: float = 1.0, species_code: int = 0) -> Particles:
    """Return a probe for a cutoff in Å, or one `scale` times as large; all particles are of one species."""
    codes = np.full(len(shape.positions), species_code, dtype=np.int32)
    return Particles(shape.positions * (scale * cutoff), codes, shape.contributing, _AllNeighbours(shape.contributing))
