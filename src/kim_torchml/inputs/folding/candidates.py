# SPDX-License-Identifier: LGPL-2.1-or-later
"""Translations that may have made an image, likeliest first.

An image has as many candidates as there are contributing particles of its species. Simulators list images translation
by translation, owners ascending: the longer the part of the list around the image that a translation explains, the
likelier it is. Of lists without such an order, a vote of the images nearby and of some others tells the likeliest.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from kim_torchml.inputs.folding.contradictions import Contradictions
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE
from kim_torchml.inputs.folding.rows import ParticleList

# So many candidates are looked at one by one; with more, cheaper ways come first.
_FEW = 64
_ENOUGH = 8
# Images that vote: those nearby, and random ones.
_NEAR_VOTERS = 64
_RANDOM_VOTERS = 192
# Random contributing particles that a candidate must not map onto another.
_PROBES = 800
# After so many in a row that told nothing, more are unlikely to.
_IN_VAIN = 64
# So many images are looked at together with the next one in the list; in lists without order few have the same
# translation, and in those with one all but the last of each block.
_PAIRS_IN_LIST = 32
_PART_IN_ORDER = 0.3
# The shortest candidates that are kept where nothing else tells them apart.
_MOST_RANKED = 2000
# So many are worth a deeper search.
_MOST_YIELDED = 12
# How many queries may be made at a time: they take about 100 bytes each.
_QUERIES_AT_A_TIME = 200_000
# Distances in the list at which long parts are compared first.
_STRIDES = np.unique(np.rint(1.3 ** np.arange(60)).astype(np.int64)) - 1


class Candidates:
    """Candidates for the images of one configuration."""

    def __init__(self, particles: ParticleList, cutoff: float, random: np.random.Generator) -> None:
        """Sort the contributing particles.

        Args:
            particles: The configuration.
            cutoff: Cutoff of the edges, Å.
            random: Source of random numbers.
        """
        self._contradictions = Contradictions(particles, cutoff)
        self._random = random
        self._own = particles.coordinates[particles.own]
        self._own_codes = particles.species_codes[particles.own]
        self._images = particles.coordinates[particles.images]
        self._image_codes = particles.species_codes[particles.images]
        self._owners = ImageFinder(particles, NO_LATTICE)
        self._places = self._owners if particles.places is particles else ImageFinder(particles.places, NO_LATTICE)

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
        """Yield translations [3] that explain an image and map no contributing particle onto another, likeliest first.

        The order of the list tells how likely they are.

        Args:
            image: Index among the images.
        """
        every = self._all_of(image)
        explains_near = self._explains_neighbours_in_list(image, every)
        likely = every[explains_near] if np.count_nonzero(explains_near) <= _FEW else every
        # An image may be alone in its block: those that its neighbours in the list do not share come afterwards.
        for translations in (likely, every[~explains_near]) if len(likely) < len(every) else (every,):
            likeliest = self._by_explained_part(image, self._without_unlikely(translations))
            yield from islice((each for each in likeliest if not self._overlaps(each)), _MOST_YIELDED)

    def by_vote(self, image: int) -> Iterator[np.ndarray]:
        """Yield translations [3] that explain an image and that nothing speaks against, likeliest first.

        Images nearby, and some others, tell how likely they are.

        Args:
            image: Index among the images.
        """
        translations = self._without_unlikely(self._all_of(image))
        squared = ((self._images - self._images[image]) ** 2).sum(axis=1)
        near = np.argsort(squared)[:_NEAR_VOTERS]
        others = self._random.permutation(len(self._images))[:_RANDOM_VOTERS]
        votes = np.zeros(len(translations), dtype=np.int64)
        for voter in np.unique(np.append(near, others)):
            votes += self._explain(voter, translations)
        likeliest = translations[np.lexsort((_squared(translations), -votes))]
        yield from islice((each for each in likeliest if not self._contradictions.of(each)), _MOST_YIELDED)

    def _all_of(self, image: int) -> np.ndarray:
        """Return all translations that explain an image, shape [m, 3]."""
        all_of_species: np.ndarray = self._images[image] - self._own[self._own_codes == self._image_codes[image]]
        return all_of_species

    def _without_unlikely(self, translations: np.ndarray) -> np.ndarray:
        """Return the translations that pass some probes; the shortest of these, if they are many."""
        translations = self._likely_by_probes(translations)
        if len(translations) > _MOST_RANKED:
            translations = translations[np.argsort(_squared(translations))[:_MOST_RANKED]]
        return translations

    def _explain(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return which translations [m, 3] explain an image, bool [m]."""
        codes = np.full(len(translations), self._image_codes[image])
        return self._owners.find(self._images[image] - translations, codes) >= 0

    def _overlaps(self, translation: np.ndarray) -> bool:
        """Return whether a translation [3] maps a contributing particle onto another."""
        moved = self._own + translation
        return bool((self._places.find(moved, np.zeros(len(moved), dtype=np.int32)) >= 0).any())

    def _explains_neighbours_in_list(self, image: int, translations: np.ndarray) -> np.ndarray:
        """Return which translations [m, 3] explain the image before or after an image in the list as well, bool [m]."""
        explains = np.zeros(len(translations), dtype=bool)
        for other in (image - 1, image + 1):
            if 0 <= other < len(self._images):
                explains |= self._explain(other, translations)
        return explains

    def _likely_by_probes(self, translations: np.ndarray) -> np.ndarray:
        """Return the translations that map none of some random contributing particles onto another."""
        n_in_vain = 0
        for probe in self._random.permutation(len(self._own))[:_PROBES]:
            if len(translations) <= _ENOUGH or n_in_vain == _IN_VAIN:
                break
            moved = self._own[probe] + translations
            is_free = self._places.find(moved, np.zeros(len(moved), dtype=np.int32)) < 0
            n_in_vain = n_in_vain + 1 if is_free.all() else 0
            translations = translations[is_free]
        return translations

    def _by_explained_part(self, image: int, translations: np.ndarray) -> Iterator[np.ndarray]:
        """Yield translations by the length of the part of the list around an image that each explains.

        The part is an upper bound, from images at growing distances, until a translation is next in turn.
        """
        after = np.arange(image + 1, len(self._images))
        before = np.arange(image - 1, -1, -1)
        length = 1 + self._at_most(translations, after) + self._at_most(translations, before)
        is_exact = np.zeros(len(translations), dtype=bool)
        squared = _squared(translations)
        while (length >= 0).any():
            best = np.lexsort((squared, -length))[0]
            if is_exact[best]:
                length[best] = -1
                yield translations[best]
            else:
                translation = translations[best]
                length[best] = 1 + self._explained(translation, after) + self._explained(translation, before)
                is_exact[best] = True

    def _at_most(self, translations: np.ndarray, path: np.ndarray) -> np.ndarray:
        """Return how many images of a path, from its first on, each translation [m, 3] can explain at most, [m]."""
        most = np.full(len(translations), len(path))
        alive = np.arange(len(translations))
        for stride in _STRIDES[len(path) > _STRIDES]:
            explains = self._explain(path[stride], translations[alive])
            most[alive[~explains]] = stride
            alive = alive[explains]
            if not len(alive):
                break
        return most

    def _explained(self, translation: np.ndarray, path: np.ndarray) -> int:
        """Return how many images of a path, from its first on, a translation [3] explains."""
        done, count = 0, 1
        while done < len(path):
            part = path[done : done + count]
            explains = self._owners.find(self._images[part] - translation, self._image_codes[part]) >= 0
            if not explains.all():
                return done + int(np.argmin(explains))
            done += len(part)
            count = min(2 * count, _QUERIES_AT_A_TIME)
        return done


def _squared(vectors: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.einsum("ij,ij->i", vectors, vectors)
    return squares
