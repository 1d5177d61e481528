# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owners of images from the lists of all ranks, which are put together, and folded as one.

What is proven there holds for all ranks, and each comes to the same result.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kim_torchml.inputs.folding import Folding, FoldingRefusedError, ParticleList
from kim_torchml.inputs.folding.errors import place_of, too_far_error
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE
from kim_torchml.inputs.joint.ranks import Ranks, ranks_of
from kim_torchml.inputs.joint.rows import Owners


@dataclass(frozen=True)
class _Listed:
    """What of a rank's list stays the same from one re-neighbouring to the next.

    Attributes:
        at_owners: images that are where another rank's particle is, shape [a].
        owners: those particles, numbered through all ranks, shape [a].
        images: all other images, shape [b].
        joint: the list of all ranks, of which only the coordinates change.
        kept: of the images of all ranks, those that are folded, shape [k].
        same_as: which of these each one is.
    """

    at_owners: np.ndarray
    owners: np.ndarray
    images: np.ndarray
    joint: ParticleList
    kept: np.ndarray
    same_as: np.ndarray

    def folded(self, joint: ParticleList) -> ParticleList:
        """Return the list of all ranks with each image once."""
        chosen = np.concatenate([joint.own, joint.images[self.kept]])
        assert joint.parts is not None
        return ParticleList(
            joint.coordinates[chosen],
            joint.species_codes[chosen],
            joint.contributing[chosen],
            parts=joint.parts[chosen],
        )

    def are_copies_still(self, joint: ParticleList) -> bool:
        """Return whether images that were the same are at one place."""
        images = joint.coordinates[joint.images]
        return bool(np.abs(images - images[self.kept][self.same_as]).max(initial=0.0) < joint.tolerance)


class WholeFolding:
    """What is known from earlier configurations of all ranks together."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._folding = Folding()
        self._listed: _Listed | None = None

    @property
    def is_told_by_order(self) -> bool:
        """Whether the order of the lists alone proves the owners that were found last."""
        return self._folding.is_told_by_order

    def follow(self, lattice: np.ndarray) -> None:
        """Take the lattice to be strained to these vectors, shape [d, 3], Å."""
        self._folding.follow(lattice)

    def holds(self, particles: ParticleList, cutoff: float, ranks: Ranks) -> bool:
        """Return whether the owners that were found last still are; all ranks must call this.

        Args:
            particles: This rank's particles, which are the same as then but for their coordinates.
            cutoff: Cutoff of the edges, Å.
            ranks: The ranks.
        """
        listed = self._listed
        assert listed is not None
        own = np.concatenate(ranks.gathered(particles.coordinates[particles.own]))
        off = np.abs(particles.coordinates[listed.at_owners] - own[listed.owners]).max(initial=0.0)
        places = ranks.gathered(particles.coordinates[listed.images])
        joint = replace(listed.joint, coordinates=np.concatenate([own, *places]))
        is_so = off < particles.tolerance and listed.are_copies_still(joint)
        is_so = is_so and self._folding.rows_again(listed.folded(joint), cutoff) is not None
        # Ranks on processors of other makes may round otherwise.
        return ranks.all_are(bool(is_so))

    def owners(
        self,
        particles: ParticleList,
        counts: np.ndarray,
        cutoff: float,
        reached: Callable[[], np.ndarray],
        ranks: Ranks,
    ) -> Owners:
        """Return the owners of this rank's images; all ranks must call this.

        Args:
            particles: This rank's particles.
            counts: Number of contributing particles of each rank, shape [ranks].
            cutoff: Cutoff of the edges, Å.
            reached: Function that returns which of them are in an edge, shape [n], bool.
            ranks: The ranks.
        Raises:
            FoldingRefusedError: If there are none that are proven.
        """
        farthest = particles.farthest
        if farthest is not None and not np.isfinite(particles.coordinates[farthest]).all():
            raise too_far_error(farthest, particles.coordinates)
        own = np.concatenate(ranks.gathered(particles.coordinates[particles.own]))
        codes = np.concatenate(ranks.gathered(particles.species_codes[particles.own]))
        contributing = ParticleList(own, codes, np.ones(len(own), dtype=bool))
        at_owners, owners, images = _at_owners(particles, contributing, counts, ranks.rank)
        joint = _put_together(particles, contributing, counts, images, ranks)
        listed = _Listed(at_owners, owners, images, joint, *_copies(joint))
        is_reached = np.zeros(len(listed.kept), dtype=bool)
        np.logical_or.at(is_reached, listed.same_as, np.concatenate(ranks.gathered(reached()[images])))
        is_reached = np.concatenate([np.ones(len(own), dtype=bool), is_reached])
        found = self._folding.rows_anew(listed.folded(joint), cutoff, is_reached)
        self._listed = listed
        assert joint.parts is not None
        first = int((joint.parts[joint.images] < ranks.rank).sum())
        mine = len(own) + listed.same_as[first : first + len(images)]
        at_once = np.zeros((len(at_owners), found.shifts.shape[1]), dtype=np.int64)
        return Owners(
            np.concatenate([at_owners, images]),
            np.concatenate([owners, found.row_of_particle[mine]]),
            np.concatenate([at_once, found.shifts[mine]]),
            found.lattice,
        )


def _at_owners(
    particles: ParticleList, contributing: ParticleList, counts: np.ndarray, rank: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a rank's images that are where a contributing particle of any rank is, these, and all other images.

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
    of_rank = ranks_of(owners[is_there], counts)
    if (of_rank == rank).any():
        image = int(images[is_there][of_rank == rank][0])
        raise FoldingRefusedError(
            f"no particle may be where a contributing one is, got {place_of(image, particles.coordinates)}",
            "remove one of the two",
            is_staged_right=False,
        )
    return images[is_there], owners[is_there], images[~is_there]


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


def _copies(joint: ParticleList) -> tuple[np.ndarray, np.ndarray]:
    """Return which images of all ranks to keep, and which of these each one is.

    Several ranks have listed some of them: together, and each once, they are those of one simulator.
    """
    images = joint.images
    places = ImageFinder(replace(joint, contributing=~joint.contributing), NO_LATTICE)
    found = places.find(joint.coordinates[images], joint.species_codes[images])
    _, first, which = np.unique(found, return_index=True, return_inverse=True)
    # In the order of the list.
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return first[order], place[which.reshape(-1)]
