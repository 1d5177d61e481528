# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of one of several ranks, and the owners that they are made from."""

from dataclasses import dataclass, replace

import numpy as np

from kim_torchml.inputs.folding import ParticleList
from kim_torchml.inputs.joint.ranks import Ranks, exchanged_counts, ranks_of


@dataclass(frozen=True)
class JointRows:
    """The rows of one of several ranks.

    Attributes:
        n_own: number of rows of its own contributing particles, which come first, ascending.
        row_of_particle: row of each particle, shape [n], int64; -1 for an image without a proven owner.
        particle_of_row: a particle that each row stands for, shape [rows], int64.
        given: own rows that other ranks have copies of, rank by rank, shape [k], int64.
        n_given: how many of them each rank has, shape [ranks].
        n_taken: how many rows come from each rank, shape [ranks]; their order is that of the ranks.
        n_own_of_ranks: how many own rows each rank has, shape [ranks].
    """

    n_own: int
    row_of_particle: np.ndarray
    particle_of_row: np.ndarray
    given: np.ndarray
    n_given: np.ndarray
    n_taken: np.ndarray
    n_own_of_ranks: np.ndarray

    def among(self, is_active: np.ndarray) -> "JointRows":
        """Return the same rows for some of the ranks, bool [ranks]: those with own rows."""
        return replace(
            self,
            n_given=self.n_given[is_active],
            n_taken=self.n_taken[is_active],
            n_own_of_ranks=self.n_own_of_ranks[is_active],
        )

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.particle_of_row)


@dataclass(frozen=True)
class Owners:
    """Proven owners of one rank's images.

    Attributes:
        images: the images, in any order, shape [m].
        owners: contributing particle that each is an image of, numbered through all ranks, -1 for none, shape [m].
        shifts: translation of each in terms of the lattice, shape [m, d], int64; 0 without an owner.
        lattice: translations of the lattice, the same on all ranks, shape [d, 3], Å.
    """

    images: np.ndarray
    owners: np.ndarray
    shifts: np.ndarray
    lattice: np.ndarray

    def of(self, chosen: np.ndarray) -> "Owners":
        """Return those of some of the images, bool [m]."""
        return Owners(self.images[chosen], self.owners[chosen], self.shifts[chosen], self.lattice)


def rows_of(particles: ParticleList, owned: Owners, counts: np.ndarray, ranks: Ranks) -> JointRows:
    """Return the rows of this rank; all ranks must call this.

    Args:
        particles: Its particles.
        owned: Images that get a row, all of which have an owner.
        counts: Number of contributing particles of each rank, shape [ranks].
        ranks: The ranks.
    """
    images, owners = owned.images, owned.owners
    starts = np.cumsum(counts) - counts
    n_own, first = int(counts[ranks.rank]), int(starts[ranks.rank])
    is_own = (owners >= first) & (owners < first + n_own)
    # Ascending numbers are in the order of the ranks.
    others, one_of_each, number = np.unique(owners[~is_own], return_index=True, return_inverse=True)
    row_of_particle = np.full(len(particles), -1, dtype=np.int64)
    row_of_particle[particles.own] = np.arange(n_own)
    row_of_particle[images[is_own]] = owners[is_own] - first
    row_of_particle[images[~is_own]] = n_own + number.reshape(-1)
    particle_of_row = np.concatenate([particles.own, images[~is_own][one_of_each]])
    their_ranks = ranks_of(others, counts)
    n_taken = np.bincount(their_ranks, minlength=len(counts))
    n_given = exchanged_counts(n_taken, ranks)
    given = ranks.exchanged(others - starts[their_ranks], n_taken, n_given)
    return JointRows(n_own, row_of_particle, particle_of_row, given, n_given, n_taken, counts)
