# SPDX-License-Identifier: LGPL-2.1-or-later
"""What speaks against a translation, whatever the order of the list."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE
from kim_torchml.inputs.folding.rows import ParticleList

# So many places where a particle is missing are looked at.
_MOST_PLACES = 256
# Random contributing particles that a translation must not map onto another; with few translations left it takes no
# longer to ask each.
_PROBES = 800
_ENOUGH = 8
# After so many in a row that told nothing, more are unlikely to.
_IN_VAIN = 64
_SEED = 0


class Contradictions:
    """The particles of one configuration, asked whether a translation of the lattice can be true.

    A true one maps no contributing particle onto another. There and back it maps every particle to a place where one
    of its species is, if that is within the cutoff of a contributing particle: a simulator lists all of those.
    """

    def __init__(self, particles: ParticleList, own_places: ImageFinder, cutoff: float) -> None:
        """Keep the particles.

        Args:
            particles: The configuration.
            own_places: The contributing particles of `particles.places`, without a lattice.
            cutoff: Cutoff of the edges, Å.
        """
        self._particles = particles
        self._cutoff = cutoff
        self._own = particles.coordinates[particles.own]
        self._own_places = own_places

    @cached_property
    def _all(self) -> ImageFinder:
        """All particles, of any species."""
        particles = self._particles
        return ImageFinder(replace(particles.places, contributing=np.ones(len(particles), dtype=bool)), NO_LATTICE)

    def of(self, translation: np.ndarray) -> bool:
        """Return whether something speaks against a translation [3], Å."""
        return self.overlaps(translation) or self._is_contradicted(translation) or self._is_contradicted(-translation)

    def overlaps(self, translation: np.ndarray) -> bool:
        """Return whether a translation [3], Å, maps a contributing particle onto another."""
        return bool((self._own_places.find_place(self._own + translation) >= 0).any())

    def hardly_overlapping(self, translations: np.ndarray) -> np.ndarray:
        """Return the translations, of [m, 3], that map none of some contributing particles onto another."""
        if len(translations) <= _ENOUGH:
            return translations
        n_in_vain = 0
        for probe in np.random.default_rng(_SEED).permutation(len(self._own))[:_PROBES]:
            if len(translations) <= _ENOUGH or n_in_vain == _IN_VAIN:
                break
            is_free = self._own_places.find_place(self._own[probe] + translations) < 0
            n_in_vain = n_in_vain + 1 if is_free.all() else 0
            translations = translations[is_free]
        return translations

    def _is_contradicted(self, translation: np.ndarray) -> bool:
        """Return whether a particle is moved to where one of another species is, or where one is missing."""
        particles = self._particles
        low, high = self._own.min(axis=0) - self._cutoff, self._own.max(axis=0) + self._cutoff
        places = particles.coordinates + translation
        inside = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        places = places[inside]
        found = self._all.find_place(places)
        is_there = found >= 0
        codes = particles.species_codes
        if (codes[found[is_there]] != codes[inside[is_there]]).any():
            return True
        # The nearest places are tried: others are likely to be out of reach.
        places = places[~is_there]
        squared = ((places - self._own.mean(axis=0)) ** 2).sum(axis=1)
        within = particles.surely_within(self._cutoff)
        for place in places[np.argsort(squared)[:_MOST_PLACES]]:
            if ((self._own - place) ** 2).sum(axis=1).min() < within**2:
                return True
        return False
