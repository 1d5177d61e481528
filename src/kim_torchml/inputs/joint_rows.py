# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of several ranks that compute one system together.

Each rank has rows for its own contributing particles, and after them one for each particle of another rank that its own
have edges to: however many of its images there are, and however many layers the network has. All lists of particles are
put together, and folded as one: what is proven there holds for all ranks, and each comes to the same result.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from kim_torchml.inputs.folding import Folding, FoldingRefusedError, ParticleList
from kim_torchml.inputs.folding.errors import place_of
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE


class Ranks(Protocol):
    """The ranks that compute together, each of which calls the same methods in the same order."""

    @property
    def rank(self) -> int:
        """Place of this one among them."""

    def all_are(self, is_so: bool) -> bool:
        """Return whether something is so on all ranks."""

    def gathered(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all ranks, which may differ in their first size alone."""

    def exchanged(self, rows: np.ndarray, n_given: np.ndarray, n_taken: np.ndarray) -> np.ndarray:
        """Return rows from all ranks, in the order of these.

        Args:
            rows: Rows for each rank, in the order of these, shape [sum of n_given, ...].
            n_given: How many are for each, shape [ranks].
            n_taken: How many come from each, shape [ranks].
        """


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
class _Listed:
    """A rank's list, as far as it stays the same from one re-neighbouring to the next.

    Attributes:
        species_codes: KIM's species codes, shape [n].
        contributing: whether each particle contributes, shape [n].
        at_owners: images that are where another rank's particle is, shape [a].
        owners: those particles, numbered through all ranks, shape [a].
        images: all other images, shape [b].
    """

    species_codes: np.ndarray
    contributing: np.ndarray
    at_owners: np.ndarray
    owners: np.ndarray
    images: np.ndarray

    def is_of(self, particles: ParticleList) -> bool:
        """Return whether a list is the same but for its coordinates."""
        return np.array_equal(self.species_codes, particles.species_codes) and np.array_equal(
            self.contributing, particles.contributing
        )


class JointFolding:
    """What is known from earlier configurations of one simulation of several ranks.

    Attributes:
        n_planned: how often rows were found anew.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._folding = Folding()
        self._listed: _Listed | None = None
        # The list of all ranks, of which only the coordinates change while each rank's list stays the same.
        self._joint: ParticleList | None = None
        # Of the images of all ranks, those that are folded, and which of these each one is.
        self._kept = self._same_as = np.zeros(0, dtype=np.int64)
        self._rows: JointRows | None = None
        self.n_planned = 0

    def forget(self) -> None:
        """Let the rows of the next configuration be found anew."""
        self._rows = None

    def rows(
        self, particles: ParticleList, cutoff: float, reached: Callable[[], np.ndarray], ranks: Ranks
    ) -> JointRows:
        """Return the rows of this rank; all ranks must call this.

        Args:
            particles: This rank's particles.
            cutoff: Cutoff of the edges, Å.
            reached: Function that returns which of them are in an edge, shape [n], bool.
            ranks: The ranks.
        Raises:
            FoldingRefusedError: If there are no proven rows.
        """
        own_of_ranks = ranks.gathered(particles.coordinates[particles.own])
        own = np.concatenate(own_of_ranks)
        counts = np.array([len(each) for each in own_of_ranks])
        known, rows, listed_before = self._listed, self._rows, self._joint
        is_known = known is not None and rows is not None and known.is_of(particles)
        if is_known and known is not None and len(known.at_owners):
            off = np.abs(particles.coordinates[known.at_owners] - own[known.owners])
            is_known = bool(off.max() < particles.tolerance)
        if not ranks.all_are(is_known) or known is None or rows is None or listed_before is None:
            return self._planned(particles, own, counts, cutoff, reached, ranks)
        places = ranks.gathered(particles.coordinates[known.images])
        joint = replace(listed_before, coordinates=np.concatenate([own, *places]))
        rows_again = self._folding.rows_again(self._folded(joint), cutoff) if self._are_copies_still(joint) else None
        # Ranks on processors of other makes may round otherwise.
        if not ranks.all_are(rows_again is not None):
            return self._planned(particles, own, counts, cutoff, reached, ranks)
        return rows

    @staticmethod
    def _put_together(
        particles: ParticleList, contributing: ParticleList, counts: np.ndarray, images: np.ndarray, ranks: Ranks
    ) -> ParticleList:
        """Return the list of all ranks: all contributing particles, then the images of each rank."""
        places = ranks.gathered(particles.coordinates[images])
        codes = ranks.gathered(particles.species_codes[images])
        numbers = np.arange(len(counts))
        n_images = [len(each) for each in places]
        return ParticleList(
            np.concatenate([contributing.coordinates, *places]),
            np.concatenate([contributing.species_codes, *codes]),
            np.arange(len(contributing) + sum(n_images)) < len(contributing),
            parts=np.concatenate([np.repeat(numbers, counts), np.repeat(numbers, n_images)]),
        )

    def _take_copies(self, joint: ParticleList) -> None:
        """Find out which images several ranks have listed: together, and each once, they are those of one simulator."""
        images = joint.images
        places = ImageFinder(replace(joint, contributing=~joint.contributing), NO_LATTICE)
        found = places.find(joint.coordinates[images], joint.species_codes[images])
        _, self._kept, self._same_as = _first_of_each(found)

    def _are_copies_still(self, joint: ParticleList) -> bool:
        """Return whether images that were the same are at one place."""
        images = joint.coordinates[joint.images]
        return bool(np.abs(images - images[self._kept][self._same_as]).max(initial=0.0) < joint.tolerance)

    def _folded(self, joint: ParticleList) -> ParticleList:
        """Return the list of all ranks with each image once."""
        chosen = np.concatenate([joint.own, joint.images[self._kept]])
        assert joint.parts is not None
        return ParticleList(
            joint.coordinates[chosen],
            joint.species_codes[chosen],
            joint.contributing[chosen],
            parts=joint.parts[chosen],
        )

    def _planned(
        self,
        particles: ParticleList,
        own: np.ndarray,
        counts: np.ndarray,
        cutoff: float,
        reached: Callable[[], np.ndarray],
        ranks: Ranks,
    ) -> JointRows:
        """Find the rows anew."""
        self._listed = self._rows = self._joint = None
        self.n_planned += 1
        codes = np.concatenate(ranks.gathered(particles.species_codes[particles.own]))
        contributing = ParticleList(own, codes, np.ones(len(own), dtype=bool))
        listed = _listed_with_owners(particles, contributing, counts, ranks.rank)
        joint = self._put_together(particles, contributing, counts, listed.images, ranks)
        self._take_copies(joint)
        is_reached = np.zeros(len(self._kept), dtype=bool)
        np.logical_or.at(is_reached, self._same_as, np.concatenate(ranks.gathered(reached()[listed.images])))
        is_reached = np.concatenate([np.ones(len(own), dtype=bool), is_reached])
        found = self._folding.rows_anew(self._folded(joint), cutoff, is_reached)
        of_images = found.row_of_particle[len(own) :][self._same_as]
        assert joint.parts is not None
        first = int((joint.parts[joint.images] < ranks.rank).sum())
        owners = np.concatenate([listed.owners, of_images[first : first + len(listed.images)]])
        images = np.concatenate([listed.at_owners, listed.images])
        self._listed, self._joint = listed, joint
        self._rows = _rows_of(particles, images, owners, counts, ranks)
        return self._rows


def _listed_with_owners(particles: ParticleList, contributing: ParticleList, counts: np.ndarray, rank: int) -> _Listed:
    """Return a rank's list, with the images that are where a contributing particle of any rank is.

    Args:
        particles: The rank's particles.
        contributing: The contributing particles of all ranks.
        counts: Number of these of each rank, shape [ranks].
        rank: The rank.
    Raises:
        FoldingRefusedError: If one is where a contributing particle of the rank's own is.
    """
    images = particles.images
    places = ImageFinder(contributing, NO_LATTICE)
    owners = places.find(particles.coordinates[images], particles.species_codes[images])
    is_there = owners >= 0
    of_rank = np.searchsorted(np.cumsum(counts), owners[is_there], side="right")
    if (of_rank == rank).any():
        image = int(images[is_there][of_rank == rank][0])
        raise FoldingRefusedError(
            f"no particle may be where a contributing one is, got {place_of(image, particles.coordinates)}",
            "remove one of the two",
            is_staged_right=False,
        )
    return _Listed(
        particles.species_codes.copy(), particles.contributing.copy(), images[is_there], owners[is_there],
        images[~is_there],
    )  # fmt: skip


def _first_of_each(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the different numbers in the order of the list, where each is first, and which of them each one is."""
    different, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return different[order], first[order], place[which.reshape(-1)]


def _rows_of(
    particles: ParticleList, images: np.ndarray, owners: np.ndarray, counts: np.ndarray, ranks: Ranks
) -> JointRows:
    """Return the rows of this rank.

    Args:
        particles: This rank's particles.
        images: Its images, shape [m].
        owners: Their owners, numbered through all ranks, -1 for none, shape [m].
        counts: Number of contributing particles of each rank, shape [ranks].
        ranks: The ranks.
    """
    # A rank without particles of its own computes none.
    has_row = (owners >= 0) & (counts[ranks.rank] > 0)
    images, owners = images[has_row], owners[has_row]
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
    their_ranks = np.searchsorted(np.cumsum(counts), others, side="right")
    n_taken = np.bincount(their_ranks, minlength=len(counts))
    n_given = np.concatenate([each[ranks.rank : ranks.rank + 1] for each in ranks.gathered(n_taken)])
    given = ranks.exchanged(others - starts[their_ranks], n_taken, n_given)
    return JointRows(n_own, row_of_particle, particle_of_row, given, n_given, n_taken, counts)
