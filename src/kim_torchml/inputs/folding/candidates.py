# SPDX-License-Identifier: LGPL-2.1-or-later
"""Translations that may have made an image, likeliest first.

An image has as many candidates as there are contributing particles of its species. Simulators list images translation
by translation, owners ascending: a true translation explains one block, and the longer that is, the likelier. Of lists
without such an order, a vote of the images nearby and of some others tells the likeliest.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from kim_torchml.inputs.folding.contradictions import Contradictions
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE
from kim_torchml.inputs.folding.list_order import ExplainedParts
from kim_torchml.inputs.folding.rows import ParticleList

# Images that vote: those nearby, and random ones.
_NEAR_VOTERS = 64
_RANDOM_VOTERS = 192
# The part of some images that one of the box's translations explains at least.
_GOOD_PART = 0.03
# After so many votes, only the likeliest candidates go on.
_FIRST_VOTERS = 16
# So many images are looked at together with the next one in the list; in lists without order few have the same
# translation, and in those with one all but the last of each block.
_PAIRS_IN_LIST = 32
_PART_IN_ORDER = 0.3
# The shortest candidates that are kept where nothing else tells them apart.
_MOST_RANKED = 2000
# So many are worth a deeper search.
_MOST_YIELDED = 12


class Candidates:
    """Candidates for the images of one configuration."""

    def __init__(self, particles: ParticleList, cutoff: float, random: np.random.Generator) -> None:
        """Sort the contributing particles.

        Args:
            particles: The configuration.
            cutoff: Cutoff of the edges, Å.
            random: Source of random numbers.
        """
        own_places = ImageFinder(particles.places, NO_LATTICE)
        self._contradictions = Contradictions(particles, own_places, cutoff)
        self._random = random
        self._own = particles.coordinates[particles.own]
        self._own_codes = particles.species_codes[particles.own]
        self._images = particles.coordinates[particles.images]
        self._image_codes = particles.species_codes[particles.images]
        self._owners = ImageFinder(particles, NO_LATTICE)
        self._parts = ExplainedParts(particles, own_places)

    def list_may_have_order(self) -> bool:
        """Return whether enough of some random images are explained together with the next one, owners ascending."""
        starts = self._random.permutation(max(len(self._images) - 1, 0))[:_PAIRS_IN_LIST]
        in_order = 0
        for image in starts:
            every = self._all_of(image)
            together = self._owners.find(
                self._images[image + 1] - every, np.full(len(every), self._image_codes[image + 1])
            )
            owners = np.flatnonzero(self._own_codes == self._image_codes[image])
            in_order += int((together > owners).any())
        return in_order >= _PART_IN_ORDER * len(starts)

    def by_order(self, image: int) -> Iterator[np.ndarray]:
        """Yield translations [3] that explain an image, and blocks of the list, likeliest first.

        They map no contributing particle onto another.

        Args:
            image: Index among the images.
        """
        every = self._all_of(image)
        explains_near = self._explains_neighbours_in_list(image, every)
        # An image may be alone in its block: those that its neighbours in the list do not share come afterwards.
        for translations in (every[explains_near], every[~explains_near]):
            likeliest = self._parts.likeliest_blocks(image, self._without_unlikely(translations))
            possible = (
                each for each in likeliest if not self._contradictions.overlaps(each) and self._parts.are_blocks(each)
            )
            yield from islice(possible, _MOST_YIELDED)

    def by_vote(self, image: int) -> Iterator[np.ndarray]:
        """Yield translations [3] that explain an image and that nothing speaks against, likeliest first.

        Images nearby, and some others, tell how likely they are.

        Args:
            image: Index among the images.
        """
        likeliest, _ = self._most_voted(image)
        yield from islice((each for each in likeliest if not self._contradictions.of(each)), _MOST_YIELDED)

    def by_vote_alone(self, image: int) -> Iterator[np.ndarray]:
        """Yield translations [3] that explain an image and a good part of others, whatever speaks against them.

        Args:
            image: Index among the images.
        """
        translations, parts = self._most_voted(image)
        yield from translations[parts > _GOOD_PART][:_MOST_YIELDED]

    def _most_voted(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the translations [m, 3] that explain an image, and what part of some others each explains, [m].

        Those that explain most are first.
        """
        squared = ((self._images - self._images[image]) ** 2).sum(axis=1)
        near = np.argsort(squared)[:_NEAR_VOTERS]
        others = self._random.permutation(len(self._images))[:_RANDOM_VOTERS]
        voters = self._random.permutation(np.unique(np.append(near, others)))
        translations = self._contradictions.hardly_overlapping(self._all_of(image))
        votes = np.zeros(len(translations), dtype=np.int64)
        for n, voter in enumerate(voters, start=1):
            votes += self._explain(voter, translations)
            if n % _FIRST_VOTERS == 0 and len(translations) > _MOST_RANKED:
                # Nothing overlaps in a liquid: few votes thin out what all of them would take long to look at.
                kept = np.lexsort((_squared(translations), -votes))[:_MOST_RANKED]
                translations, votes = translations[kept], votes[kept]
        order = np.lexsort((_squared(translations), -votes))
        return translations[order], votes[order] / len(voters)

    def _all_of(self, image: int) -> np.ndarray:
        """Return all translations that explain an image, shape [m, 3]."""
        all_of_species: np.ndarray = self._images[image] - self._own[self._own_codes == self._image_codes[image]]
        return all_of_species

    def _without_unlikely(self, translations: np.ndarray) -> np.ndarray:
        """Return the translations that pass some probes; the shortest of these, if they are many."""
        translations = self._contradictions.hardly_overlapping(translations)
        if len(translations) > _MOST_RANKED:
            translations = translations[np.argsort(_squared(translations))[:_MOST_RANKED]]
        return translations

    def _explain(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return which translations [m, 3] explain an image, bool [m]."""
        codes = np.full(len(translations), self._image_codes[image])
        return self._owners.find(self._images[image] - translations, codes) >= 0

    def _explains_neighbours_in_list(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return which translations [m, 3] explain the image before or after an image in the list as well, bool [m]."""
        explains = np.zeros(len(translations), dtype=bool)
        for other in (image - 1, image + 1):
            if 0 <= other < len(self._images):
                explains |= self._explain(other, translations)
        return explains


def _squared(vectors: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.einsum("ij,ij->i", vectors, vectors)
    return squares
