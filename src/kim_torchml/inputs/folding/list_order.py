# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the order of a list of images tells: simulators list them translation by translation, owners ascending."""

import math
from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE, Lattice
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# The order of the images of so few contributing particles may be chance.
FEW_OWNERS = 16
# The logarithm of one over the probability by which a random order must be in blocks to be none.
_NO_CHANCE = math.log(1e9)
# Distances in the list from an image to those that tell most of a translation: near ones, and few that are far.
_DISTANCES = np.unique(np.rint(1.3 ** np.arange(60)).astype(np.int64)) - 1


@dataclass(frozen=True)
class Mapping:
    """Images and their owners, in the order of the list.

    Attributes:
        images: the images, shape [m].
        owners: owner of each, shape [m].
        shifts: translation of each in terms of the lattice, shape [m, d].
    """

    images: np.ndarray
    owners: np.ndarray
    shifts: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where blocks of one translation begin, ascending."""
        numbers = numbers_of(self.shifts)
        is_start = np.ones(len(numbers), dtype=bool)
        is_start[1:] = numbers[1:] != numbers[:-1]
        return np.flatnonzero(is_start)

    @property
    def occurring_shifts(self) -> np.ndarray:
        """The translations of the images, and their inverses: those of their edges' other ends, shape [k, d]."""
        shifts = np.unique(np.concatenate([self.shifts, -self.shifts]), axis=0)
        return shifts[shifts.any(axis=1)]

    @property
    def tells_owners(self) -> bool:
        """Whether the images are in blocks of one translation each, owners ascending, and not by chance."""
        if not is_in_blocks(self.owners, self.shifts):
            return False
        if not (self.owners != self.owners[:1]).any():
            # All have the one owner that there is.
            return True
        # Of all orders, so many are in blocks: those of the blocks.
        return math.lgamma(len(self.images) + 1) - math.lgamma(len(self.starts) + 1) > _NO_CHANCE

    def of(self, chosen: np.ndarray) -> "Mapping":
        """Return some of the images, bool [m]."""
        return Mapping(self.images[chosen], self.owners[chosen], self.shifts[chosen])


def mapping_of(particles: ParticleList, rows: Rows) -> Mapping:
    """Return the images that have an owner."""
    images = particles.images[rows.row_of_particle[particles.images] >= 0]
    owners = particles.own[rows.row_of_particle[images]] if len(images) else images
    return Mapping(images, owners, rows.shifts[images])


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


def is_in_blocks(owners: np.ndarray, shifts: np.ndarray) -> bool:
    """Return whether a list of images has one block for each translation, with owners ascending.

    Args:
        owners: Owner of each image, in the order of the list, shape [m].
        shifts: Its translation in terms of the lattice, shape [m, d].
    """
    if len(owners) < 2:
        return True
    numbers = numbers_of(shifts)
    is_same = numbers[1:] == numbers[:-1]
    if (np.diff(owners)[is_same] <= 0).any():
        return False
    first_of_blocks = numbers[np.append(True, ~is_same)]
    return len(np.unique(first_of_blocks)) == len(first_of_blocks)


class ExplainedParts:
    """The list of images of one configuration, asked for what a translation explains of it.

    With a lattice that contains a translation, the images that it explains have no other owner, as no two contributing
    particles are images of each other. So they are one block, and those of the inverse are another.
    """

    def __init__(self, particles: ParticleList) -> None:
        """Sort the contributing particles."""
        self._own_codes = particles.species_codes[particles.own]
        self._images = particles.coordinates[particles.images]
        self._image_codes = particles.species_codes[particles.images]
        self._own_places = ImageFinder(particles.places, NO_LATTICE)

    def are_blocks(self, translation: np.ndarray) -> bool:
        """Return whether the images that a translation [3], Å, explains may be one block, and those of its inverse."""
        for each in (translation, -translation):
            owners = self._owners_at(self._images - each)
            explained = np.flatnonzero(owners >= 0)
            owners = owners[explained]
            if len(explained) and explained[-1] - explained[0] >= len(explained):
                return False
            if (np.diff(owners) <= 0).any() or (self._own_codes[owners] != self._image_codes[explained]).any():
                return False
        return True

    def likeliest_blocks(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return the translations, of [m, 3], that may explain one block, longest first as far as some images show.

        Args:
            image: Index among the images of one that each of the translations explains.
            translations: The translations, Å.
        """
        sample = np.concatenate([image - _DISTANCES[:0:-1], image + _DISTANCES])
        sample = sample[(sample >= 0) & (sample < len(self._images))]
        middle = int(np.searchsorted(sample, image))
        places = self._images[sample][:, np.newaxis] - translations
        owners = self._owners_at(places.reshape(-1, 3)).reshape(places.shape[:2])
        is_explained = owners >= 0
        following = np.minimum.accumulate(is_explained[middle:], axis=0).sum(axis=0)
        preceding = np.minimum.accumulate(is_explained[middle::-1], axis=0).sum(axis=0)
        length = following + preceding - 1
        is_descending = (is_explained[1:] & is_explained[:-1] & (owners[1:] <= owners[:-1])).any(axis=0)
        maybe = np.flatnonzero((is_explained.sum(axis=0) == length) & ~is_descending)
        squared = (translations[maybe] ** 2).sum(axis=1)
        likeliest: np.ndarray = translations[maybe[np.lexsort((squared, -length[maybe]))]]
        return likeliest

    def _owners_at(self, places: np.ndarray) -> np.ndarray:
        return self._own_places.find(places, np.zeros(len(places), dtype=np.int32))
