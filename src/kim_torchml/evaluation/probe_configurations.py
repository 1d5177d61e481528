# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small configurations that tell what a model's energy looks like."""

import itertools
from dataclasses import dataclass

import numpy as np

from kim_torchml.evaluation.dense_neighbours import DenseNeighbours, edges_between_rows
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


# A model may have a shorter cutoff than its description says: then particles must be nearer to interact.
SCALES = (1.0, 0.6, 0.35)
# Chains of one species are made of so many of the first species: a call should be short.
_MOST_CHAINS = 16


class _AllNeighbours:
    """Neighbour lists in which every particle is every other's neighbour."""

    def __init__(self, coordinates: np.ndarray, contributing: np.ndarray) -> None:
        self._coordinates = coordinates
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

    def edges(self, cutoff: float, n_layers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        edge_index = self.staged_edges(cutoff, n_layers)[-1]
        centres, neighbours = edge_index
        vectors = self._coordinates[neighbours] - self._coordinates[centres]
        return np.arange(len(self._contributing)), edge_index, edge_index.copy(), vectors

    def folded_edges(
        self, cutoff: float, row_of_particle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        n = len(self._contributing)
        pairs = np.argwhere(self._contributing[:, None] & ~np.eye(n, dtype=bool))
        return edges_between_rows(pairs, self._coordinates, row_of_particle)

    def reached(self, cutoff: float) -> np.ndarray:
        return np.full(len(self._contributing), self._contributing.any(), dtype=bool)

    def closest_pair(self) -> None:
        """Tell of no pair: a probe is within a model's limits."""

    def most_neighbours(self) -> None:
        """Tell of no particle: a probe is within a model's limits."""


def probe_particles(
    shape: ProbeShape,
    cutoff: float,
    scale: float = 1.0,
    species_codes: int | np.ndarray = 0,
    contributing: np.ndarray | None = None,
) -> Particles:
    """Return a probe.

    Args:
        shape: Its shape.
        cutoff: Cutoff of the model, Å.
        scale: Factor for all distances.
        species_codes: Code of the species of all particles, or of each, shape [n].
        contributing: Which particles contribute instead of those that the shape says, shape [n].
    """
    codes = np.full(len(shape.positions), species_codes, dtype=np.int32)
    flags = shape.contributing if contributing is None else contributing
    coordinates = shape.positions * (scale * cutoff)
    return Particles(coordinates, codes, flags, _AllNeighbours(coordinates, flags))


def probe_chains(n: int, spacing: float, n_species: int) -> Particles:
    """Return chains of particles, of each of which the first contributes, far from each other.

    In one chain species come in turn; each of the others is of one species, as there are models in which only particles
    of one kind tell each other something.

    Args:
        n: Number of particles of a chain.
        spacing: Distance of one particle from the next, Å.
        n_species: Number of species.
    """
    # A chain that is not quite straight has no symmetry.
    chain = np.arange(n)[:, None] * np.array([1.0, 0.0, 0.0]) + 0.05 * np.sin(np.arange(3 * n).reshape(n, 3))
    of_one_species = range(min(n_species, _MOST_CHAINS)) if n_species > 1 else ()
    species = [np.arange(n) % n_species, *(np.full(n, code) for code in of_one_species)]
    shifts = np.arange(len(species))[:, None, None] * np.array([0.0, 10.0, 0.0])
    coordinates = (spacing * (chain + shifts)).reshape(-1, 3)
    contributing = np.tile(np.arange(n) == 0, len(species))
    codes = np.concatenate(species).astype(np.int32)
    return Particles(coordinates, codes, contributing, DenseNeighbours(coordinates, contributing))


def with_distant_particles(particles: Particles, distance: float, n_species: int) -> Particles:
    """Return a probe with one more particle of each species, which does not contribute and has no neighbours.

    Args:
        particles: The probe.
        distance: Distance of each new particle from all others, at least, Å.
        n_species: Number of species.
    """
    places = particles.coordinates.max(axis=0) + distance * np.arange(1, n_species + 1)[:, np.newaxis]
    return Particles(
        np.concatenate([particles.coordinates, places]),
        np.concatenate([particles.species_codes, np.arange(n_species, dtype=np.int32)]),
        np.concatenate([particles.contributing, np.zeros(n_species, dtype=bool)]),
        # These lists know nothing of the new particles.
        particles.neighbours,
    )
