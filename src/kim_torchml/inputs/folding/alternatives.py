# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other translations that images may have been made by.

Were the rows wrong, the true lattice would explain every image too. As many images as it takes for their translations
to generate the rows' lattice tell: if none of them has another explanation, that lattice and the true one are the same.
The true translation takes all surroundings of an image to surroundings of its owner, of which all are in the list.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.list_order import Mapping, numbers_of
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# So many of an image's neighbours, the nearest first, are looked for around another owner.
NEIGHBOURS = 12
# Translations, the shortest first, among which those are sought that generate a lattice.
_SHORTEST = 13


class Alternatives:
    """Translations that explain some images as rows do not."""

    def __init__(
        self, particles: ParticleList, rows: Rows, mapping: Mapping, cutoff: float, places: ImageFinder
    ) -> None:
        """Keep what is known.

        Args:
            particles: The configuration.
            rows: Its rows, proven but for these translations.
            mapping: Its images and their owners.
            cutoff: Cutoff of the edges, Å.
            places: The contributing particles of `particles.places` under the lattice of the rows. Within the cutoff
                of these, the list has all images.
        """
        self._particles = particles
        self._rows = rows
        self._mapping = mapping
        self._cutoff = cutoff
        self._places = places

    def of(self, image: int) -> np.ndarray:
        """Return all translations that explain an image otherwise, shape [m, 3], Å."""
        particles, owner = self._particles, self.owner(image)
        is_other = particles.species_codes[particles.own] == particles.species_codes[image]
        others = particles.own[is_other & (particles.own != owner)]
        vectors: np.ndarray = particles.coordinates[image] - particles.coordinates[self._alike(image, others)]
        return vectors

    def owner(self, image: int) -> int:
        """Return the owner of an image under the rows."""
        return int(self._particles.own[self._rows.row_of_particle[image]])

    def telling_images(self) -> Iterator[int]:
        """Yield images whose translations generate all translations."""
        mapping, coordinates = self._mapping, self._particles.coordinates
        if len(self._particles.own) < 2 or not len(mapping.images):
            return
        middle = coordinates[self._particles.own].mean(axis=0)
        squared = ((coordinates[mapping.images] - middle) ** 2).sum(axis=1)
        numbers = numbers_of(mapping.shifts)
        _, first = np.unique(numbers, return_index=True)
        for block in first[generators(mapping.shifts[first], self._rows.lattice)]:
            made = np.flatnonzero(numbers == numbers[block])
            # The surroundings of what is far outside are not all in the list.
            place = made[np.argmin(squared[made])]
            yield int(mapping.images[place])

    def _alike(self, image: int, others: np.ndarray) -> np.ndarray:
        """Return those of other contributing particles, shape [m], whose surroundings have all that an image's have."""
        coordinates, codes = self._particles.coordinates, self._particles.species_codes
        vectors = coordinates - coordinates[image]
        squared = np.einsum("ij,ij->i", vectors, vectors)
        squared[image] = np.inf
        near = np.flatnonzero(squared < self._particles.surely_within(self._cutoff) ** 2)
        for neighbour in near[np.argsort(squared[near])[:NEIGHBOURS]]:
            if not len(others):
                break
            found = self._places.find_place(coordinates[others] + vectors[neighbour])
            is_there = found >= 0
            is_there[is_there] = codes[self._particles.own[found[is_there]]] == codes[neighbour]
            others = others[is_there]
        return others


def generators(shifts: np.ndarray, lattice: np.ndarray) -> list[int]:
    """Return places of translations, in terms of a lattice, [k, d], that together generate all of them."""
    order = np.argsort(((shifts @ lattice) ** 2).sum(axis=1), kind="stable").tolist()
    # Of a translation and its inverse, one is enough.
    unlike = list({max(tuple(shifts[place]), tuple(-shifts[place])): place for place in reversed(order)}.values())[::-1]
    for chosen in itertools.combinations(unlike[:_SHORTEST], int(np.linalg.matrix_rank(shifts))):
        few = shifts[list(chosen)]
        if np.abs(np.rint(shifts @ np.linalg.pinv(few)) @ few - shifts).max() < 0.5:
            return list(chosen)
    return unlike
