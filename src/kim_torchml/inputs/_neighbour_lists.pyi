# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbour lists filtered to a cutoff, and the edges of message-passing models.

kim_driver_cpp/neighbours/neighbour_lists_module.cpp is the source of this compiled module.
"""

import numpy as np
import numpy.typing as npt

class NeighbourLists:
    """Neighbour lists given as arrays.

    Args:
        coordinates: shape [n, 3], float64, Å.
        contributing: shape [n], int32, 1 = contributing.
        counts: length of each particle's list, shape [n], int32.
        neighbours: the lists one after the other, shape [sum of counts], int32.
    Raises:
        ValueError: If the shapes disagree.
    """

    def __init__(
        self,
        coordinates: npt.ArrayLike,
        contributing: npt.ArrayLike,
        counts: npt.ArrayLike,
        neighbours: npt.ArrayLike,
    ) -> None: ...
    def of_contributing(self, cutoff: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return (counts int32 [contributing], neighbours int32 [sum]) within the cutoff, sorted."""

    def staged_edges(self, cutoff: float, n_layers: int) -> list[npt.NDArray[np.int64]]:
        """Return E_1 ... E_L, each int64 [2, E_k], sorted by (first, second)."""

    def edges(
        self, cutoff: float, n_layers: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return (particle_of_row [rows], edge_index [2, E], particles [2, E], vectors [E, 3]), in order."""

    def folded_edges(
        self, cutoff: float, row_of_particle: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
        """Return (edge_index [2, E], particles [2, E], vectors [E, 3]) of the edges from contributing particles.

        Args:
            cutoff: in Å.
            row_of_particle: row of each particle, shape [n], int64; -1 where it has none.
        Returns:
            Rows and particles of (centre, neighbour), and vectors between them, sorted by the particles; None
            where an edge leads to a particle without a row.
        Raises:
            ValueError: If a row is none of 0 to n - 1, nor -1, or there is not one for each particle.
        """

    def reached(self, cutoff: float) -> npt.NDArray[np.bool_]:
        """Return which particles contribute or are within the cutoff of one that does, bool [n]."""

    def closest_pair(self) -> tuple[int, int, float] | None:
        """Return (first, second, distance in Å) of the closest pair within the last cutoff, or None."""

    def most_neighbours(self) -> tuple[int, int] | None:
        """Return (particle, count) of the particle with the most neighbours, or None before lists were asked for."""
