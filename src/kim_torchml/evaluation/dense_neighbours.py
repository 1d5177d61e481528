# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbour lists and edges of a few particles, from all their distances: for probes, which have no simulator."""

from functools import cached_property

import numpy as np


class DenseNeighbours:
    """Neighbours after the protocol `inputs.Neighbours`. Time and memory grow with the square of n."""

    def __init__(self, coordinates: np.ndarray, contributing: np.ndarray) -> None:
        """Keep the particles.

        Args:
            coordinates: Shape [n, 3], float64, Å.
            contributing: Shape [n], bool.
        """
        self._coordinates = coordinates
        self._contributing = contributing
        # Which particles are neighbours, and whose lists were asked for.
        self._near = np.zeros((len(coordinates), len(coordinates)), dtype=bool)
        self._asked = np.zeros(len(coordinates), dtype=bool)

    @cached_property
    def _distances(self) -> np.ndarray:
        distances: np.ndarray = np.linalg.norm(self._coordinates[:, None] - self._coordinates[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        return distances

    def _use_cutoff(self, cutoff: float) -> None:
        self._near = self._distances <= cutoff
        self._asked = self._contributing.copy()

    def of_contributing(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """Return counts and neighbours of the contributing particles."""
        self._use_cutoff(cutoff)
        near = self._near[self._contributing]
        return near.sum(axis=1).astype(np.int32), np.nonzero(near)[1].astype(np.int32)

    def staged_edges(self, cutoff: float, n_layers: int) -> list[np.ndarray]:
        """Return the edges of each layer."""
        self._use_cutoff(cutoff)
        members, stages = self._contributing, []
        for _ in range(n_layers):
            self._asked |= members
            stages.append(_edges_of(members, self._near))
            members = self._near[members].any(axis=0)
        return stages

    def edges(self, cutoff: float, n_layers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return one set of edges for all layers."""
        self._use_cutoff(cutoff)
        for _ in range(n_layers - 1):
            self._asked |= self._near[self._asked].any(axis=0)
        particles = _edges_of(self._asked, self._near)
        has_row = self._contributing.copy()
        has_row[particles[0]] = True
        row_of_particle = np.cumsum(has_row) - 1
        centres, neighbours = particles
        vectors = self._coordinates[neighbours] - self._coordinates[centres]
        return np.flatnonzero(has_row), row_of_particle[particles], particles, vectors

    def folded_edges(
        self, cutoff: float, row_of_particle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return the edges from contributing particles, between rows."""
        self._use_cutoff(cutoff)
        pairs = np.argwhere(self._near & self._contributing[:, None])
        return edges_between_rows(pairs, self._coordinates, row_of_particle)

    def reached(self, cutoff: float) -> np.ndarray:
        """Return which particles contribute or are within the cutoff of one that does."""
        self._use_cutoff(cutoff)
        reached: np.ndarray = self._near[self._contributing].any(axis=0) | self._contributing
        return reached

    def closest_pair(self) -> tuple[int, int, float] | None:
        """Return the closest pair in lists that were asked for."""
        distances = np.where(self._near & self._asked[:, None], self._distances, np.inf)
        if not np.isfinite(distances).any():
            return None
        first, second = np.unravel_index(distances.argmin(), distances.shape)
        return int(first), int(second), float(distances[first, second])

    def most_neighbours(self) -> tuple[int, int] | None:
        """Return the particle with the most neighbours among those whose lists were asked for."""
        counts = np.where(self._asked, self._near.sum(axis=1), -1)
        return (int(counts.argmax()), int(counts.max())) if self._asked.any() else None


def edges_between_rows(
    pairs: np.ndarray, coordinates: np.ndarray, row_of_particle: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return what `inputs.Neighbours.folded_edges` gives for pairs of particles.

    Args:
        pairs: Centre and neighbour of each edge, shape [E, 2], int64.
        coordinates: Shape [n, 3], float64, Å.
        row_of_particle: Row of each particle, shape [n], int64; -1 where it has none.
    """
    particles = np.ascontiguousarray(pairs.T)
    edge_index = row_of_particle[particles]
    if (edge_index < 0).any():
        return None
    return edge_index, particles, coordinates[particles[1]] - coordinates[particles[0]]


def _edges_of(members: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return both directions of all pairs that a member is in, shape [2, E], sorted."""
    touches_member = members[:, None] | members[None]
    return np.ascontiguousarray(np.argwhere(near & touches_member).T)
