# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the order of a list of images tells: simulators list them translation by translation, owners ascending.

In a list of several ranks each has listed its images so, and those of each rank's owners separately.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import Lattice
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# Blocks are evidence where a random order of the images makes them with a probability below 1e-9: its logarithm.
_EVIDENCE = math.log(1e9)
# Distances in the list from an image to those that tell most of a translation: near ones, and few that are far.
_DISTANCES = np.unique(np.rint(1.3 ** np.arange(60)).astype(np.int64)) - 1


@dataclass(frozen=True)
class Mapping:
    """Images and their owners, in the order of the list.

    Attributes:
        images: the images, shape [m].
        owners: owner of each, shape [m].
        shifts: translation of each in terms of the lattice, shape [m, d].
        blocks: number of the block that each belongs to, if the list is in order, shape [m].
    """

    images: np.ndarray
    owners: np.ndarray
    shifts: np.ndarray
    blocks: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where blocks begin, ascending."""
        numbers = self.blocks
        is_start = np.ones(len(numbers), dtype=bool)
        is_start[1:] = numbers[1:] != numbers[:-1]
        return np.flatnonzero(is_start)

    @property
    def occurring_shifts(self) -> np.ndarray:
        """The translations of the images, and their inverses: those of their edges' other ends, shape [k, d]."""
        shifts = np.unique(np.concatenate([self.shifts, -self.shifts]), axis=0)
        return shifts[shifts.any(axis=1)]

    def tells_owners(self, n_own: int) -> bool:
        """Return whether the images are in blocks of one translation each, owners ascending, and not by chance.

        Args:
            n_own: Number of contributing particles; there is nothing to tell of one.
        """
        return self.is_in_blocks and (n_own == 1 or not len(self.images) or is_evidence(self.evidence))

    @property
    def evidence(self) -> float:
        """How unlikely a random order has such blocks: of m! orders of the images, B! are in B blocks; a logarithm."""
        return math.lgamma(len(self.images) + 1) - math.lgamma(len(self.starts) + 1)

    @property
    def is_in_blocks(self) -> bool:
        """Whether the images are in blocks, owners ascending in each."""
        if len(self.owners) < 2:
            return True
        is_same = self.blocks[1:] == self.blocks[:-1]
        if (np.diff(self.owners)[is_same] <= 0).any():
            return False
        first_of_blocks = self.blocks[self.starts]
        return len(np.unique(first_of_blocks)) == len(first_of_blocks)

    def of(self, chosen: np.ndarray) -> "Mapping":
        """Return some of the images, bool [m]."""
        return Mapping(self.images[chosen], self.owners[chosen], self.shifts[chosen], self.blocks[chosen])


def is_evidence(evidence: float) -> bool:
    """Return whether blocks tell owners: a random order makes as many with a probability below 1e-9."""
    return evidence > _EVIDENCE


def mapping_of(particles: ParticleList, rows: Rows) -> Mapping:
    """Return the images that have an owner."""
    images = particles.images[rows.row_of_particle[particles.images] >= 0]
    owners = particles.own[rows.row_of_particle[images]] if len(images) else images
    shifts = rows.shifts[images]
    return Mapping(images, owners, shifts, block_numbers(particles, images, owners, shifts))


def block_numbers(particles: ParticleList, images: np.ndarray, owners: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return the number of the block that each image belongs to if the list is in order, shape [m].

    Args:
        particles: The configuration.
        images: The images, shape [m].
        owners: Particle that each is an image of, shape [m].
        shifts: Its translation in terms of the lattice, shape [m, d].
    """
    if particles.parts is None:
        return numbers_of(shifts)
    return numbers_of(np.column_stack([shifts, particles.parts[images], particles.parts[owners]]))


def rows_of(particles: ParticleList, lattice: Lattice, owners: np.ndarray) -> Rows:
    """Return rows of images whose owners are known.

    Args:
        particles: The configuration.
        lattice: The lattice.
        owners: Index among the contributing particles of each image's owner, -1 for none, shape [m].
    """
    images, their_rows = particles.images[owners >= 0], owners[owners >= 0]
    row_of_particle = np.full(len(particles), -1, dtype=np.int64)
    row_of_particle[particles.own] = np.arange(len(particles.own))
    row_of_particle[images] = their_rows
    shifts = np.zeros((len(particles), lattice.rank), dtype=np.int64)
    translations = particles.coordinates[images] - particles.coordinates[particles.own[their_rows]]
    shifts[images] = lattice.nearest(translations)[0]
    return Rows(len(particles.own), row_of_particle, lattice.vectors, shifts)


def numbers_of(shifts: np.ndarray) -> np.ndarray:
    """Return one whole number for each translation [m, d], the same for the same translation."""
    numbers = np.zeros(len(shifts), dtype=np.int64)
    for along in shifts.astype(np.int64).T:
        numbers = numbers * (int(np.ptp(along)) + 1 if len(along) else 1) + (along - along.min(initial=0))
    return numbers


def may_be_ordered(places: np.ndarray, owners: np.ndarray, numbers: np.ndarray) -> bool:
    """Return whether some images may be those of a list in blocks, or in one that goes on from owner to owner.

    Args:
        places: Where in the list each image is, ascending, shape [m]; what the others are is not known.
        owners: Owner of each, shape [m].
        numbers: Number of the block that each would belong to, shape [m].
    """
    if (np.diff(owners) >= 0).all():
        return True
    order = np.argsort(numbers, kind="stable")
    is_same = np.diff(numbers[order]) == 0
    follows = (np.diff(places[order]) == 1) & (np.diff(owners[order]) > 0)
    return bool(follows[is_same].all())


class ExplainedParts:
    """The list of images of one configuration, asked for what a translation explains of it.

    With a lattice that contains a translation, the images that it explains have no other owner, as no two contributing
    particles are images of each other. So they are one block, and those of the inverse are another.
    """

    def __init__(self, particles: ParticleList, own_places: ImageFinder) -> None:
        """Keep the particles.

        Args:
            particles: The configuration.
            own_places: The contributing particles of `particles.places`, without a lattice.
        """
        self._own_codes = particles.species_codes[particles.own]
        self._images = particles.coordinates[particles.images]
        self._image_codes = particles.species_codes[particles.images]
        self._own_places = own_places
        parts = particles.parts
        self._has_parts = parts is not None
        self._own_parts, self._image_parts = (
            (np.zeros(len(each), dtype=np.int64) if parts is None else parts[each])
            for each in (particles.own, particles.images)
        )

    def are_blocks(self, translation: np.ndarray) -> bool:
        """Return whether the images that a translation [3], Å, explains may be one block, and those of its inverse."""
        return all(
            self._is_ascending(explained, owners, are_together=True)
            for explained, owners in self._explained(translation)
        )

    def are_ascending(self, translation: np.ndarray) -> bool:
        """Return whether the owners that a translation [3], Å, and its inverse give ascend, as in an order by owner."""
        return all(
            self._is_ascending(explained, owners, are_together=False)
            for explained, owners in self._explained(translation)
        )

    def likeliest_blocks(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return the translations, of [m, 3], that may explain one block, longest first as far as some images show.

        Args:
            image: Index among the images of one that each of the translations explains.
            translations: The translations, Å.
        """
        owners, middle = self._of_sample(image, translations)
        is_explained = owners >= 0
        following = np.minimum.accumulate(is_explained[middle:], axis=0).sum(axis=0)
        preceding = np.minimum.accumulate(is_explained[middle::-1], axis=0).sum(axis=0)
        length = following + preceding - 1
        is_one_part = is_explained.sum(axis=0) == length
        maybe = np.flatnonzero(is_one_part & _are_ascending(owners))
        squared = (translations[maybe] ** 2).sum(axis=1)
        likeliest: np.ndarray = translations[maybe[np.lexsort((squared, -length[maybe]))]]
        return likeliest

    def maybe_ascending(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return the translations, of [m, 3], whose owners ascend as far as some images show.

        Args:
            image: Index among the images of one that each of the translations explains.
            translations: The translations, Å.
        """
        owners, _ = self._of_sample(image, translations)
        maybe: np.ndarray = translations[_are_ascending(owners)]
        return maybe

    def _explained(self, translation: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for a translation [3] and its inverse, the images that it explains and their owners, shapes [k]."""
        for each in (translation, -translation):
            owners = self._own_places.find_place(self._images - each)
            explained = np.flatnonzero(owners >= 0)
            yield explained, owners[explained]

    def _is_ascending(self, explained: np.ndarray, owners: np.ndarray, are_together: bool) -> bool:
        """Return whether owners of images ascend in each block, and are of their species.

        Args:
            explained: The images, ascending, shape [k].
            owners: Their owners, shape [k].
            are_together: Whether nothing else may lie between images of a block.
        """
        if (self._own_codes[owners] != self._image_codes[explained]).any():
            return False
        if not self._has_parts:
            is_together = not are_together or not len(explained) or np.ptp(explained) < len(explained)
            return bool(is_together and (np.diff(owners) > 0).all())
        numbers = numbers_of(np.column_stack([self._image_parts[explained], self._own_parts[owners]]))
        order = np.argsort(numbers, kind="stable")
        is_same = np.diff(numbers[order]) == 0
        if (np.diff(owners[order])[is_same] <= 0).any():
            return False
        return not are_together or bool((np.diff(explained[order])[is_same] == 1).all())

    def _of_sample(self, image: int, translations: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the owners [s, m] of s images around one under m translations, -1 for none, and where that one is.

        Owners of other blocks count as none, as do images that other ranks have listed.
        """
        sample = np.concatenate([image - _DISTANCES[:0:-1], image + _DISTANCES])
        sample = sample[(sample >= 0) & (sample < len(self._images))]
        sample = sample[self._image_parts[sample] == self._image_parts[image]]
        places = self._images[sample][:, np.newaxis] - translations
        owners = self._own_places.find_place(places.reshape(-1, 3)).reshape(places.shape[:2])
        middle = int(np.searchsorted(sample, image))
        is_of_block = self._own_parts[owners] == self._own_parts[owners[middle]]
        return np.where((owners >= 0) & is_of_block, owners, -1), middle


def _are_ascending(owners: np.ndarray) -> np.ndarray:
    """Return which columns [m] of owners [s, m], of which negative ones do not count, ascend."""
    highest = np.maximum.accumulate(owners, axis=0)
    are: np.ndarray = np.logical_and.reduce((owners[1:] < 0) | (owners[1:] > highest[:-1]), axis=0)
    return are
