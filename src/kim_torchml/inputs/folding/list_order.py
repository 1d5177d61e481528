# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the order of a list of images tells: simulators list them translation by translation, owners ascending."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE, Lattice
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# The order of the images of so few contributing particles may be chance.
FEW_OWNERS = 16


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

    def of(self, chosen: np.ndarray) -> "Mapping":
        """Return some of the images, bool [m]."""
        return Mapping(self.images[chosen], self.owners[chosen], self.shifts[chosen])


def mapping_of(particles: ParticleList, rows: Rows) -> Mapping:
    """Return the images that have an owner."""
    images = particles.images[rows.row_of_particle[particles.images] >= 0]
    owners = particles.own[rows.row_of_particle[images]] if len(images) else images
    return Mapping(images, owners, rows.shifts[images])


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


def joint_explanations(particles: ParticleList, lattice: Lattice, mapping: Mapping) -> Iterator[np.ndarray]:
    """Yield translations [3] that explain two blocks that follow each other as one: they may be parts of a true block.

    Args:
        particles: The configuration.
        lattice: The lattice of the mapping.
        mapping: Images in blocks.
    """
    starts = mapping.starts
    if len(starts) < 2 or len(particles.own) < 2:
        return
    ends = np.append(starts[1:], len(mapping.images))
    plain = ImageFinder(particles, NO_LATTICE)
    for pair in _pairs_that_fit(particles, lattice, particles.coordinates[mapping.images], starts):
        part = mapping.images[starts[pair] : ends[pair + 1]]
        yield from _explaining_all(particles, plain, part, int(ends[pair] - starts[pair]))


def _pairs_that_fit(particles: ParticleList, lattice: Lattice, places: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return which blocks are, with the next one, nowhere wider than all contributing particles together.

    Others cannot be images by one translation, which takes nearly all of them out.
    """
    directions = np.concatenate([np.eye(3), np.linalg.pinv(lattice.vectors)], axis=1)
    slack = 2.0 * particles.tolerance * np.abs(directions).sum(axis=0)
    along = places @ directions
    low, high = np.minimum.reduceat(along, starts), np.maximum.reduceat(along, starts)
    width = np.maximum(high[1:], high[:-1]) - np.minimum(low[1:], low[:-1])
    widest = np.ptp(particles.coordinates[particles.own] @ directions, axis=0)
    return np.flatnonzero((width <= widest + slack).all(axis=1))


def _explaining_all(particles: ParticleList, plain: ImageFinder, part: np.ndarray, second: int) -> Iterator[np.ndarray]:
    """Yield the translations [3] that explain some images, shape [m], with ascending owners.

    Args:
        particles: The configuration.
        plain: Its contributing particles.
        part: The images.
        second: Where the second block begins among them.
    """
    coordinates, codes = particles.coordinates, particles.species_codes
    own = particles.own[codes[particles.own] == codes[part[second]]]
    translations = coordinates[part[second]] - coordinates[own]
    # What lies on both sides of where the blocks meet tells most.
    for image in part[[second - 1, 0, -1]]:
        at_image = np.full(len(translations), codes[image])
        translations = translations[plain.find(coordinates[image] - translations, at_image) >= 0]
    for translation in translations:
        owners = plain.find(coordinates[part] - translation, codes[part])
        if owners[0] >= 0 and (np.diff(owners) > 0).all():
            yield translation
