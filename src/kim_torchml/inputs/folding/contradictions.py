# SPDX-License-Identifier: LGPL-2.1-or-later
"""What speaks against a translation, whatever the order of the list."""

from dataclasses import replace

import numpy as np

from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE
from kim_torchml.inputs.folding.rows import ParticleList

# So many places where a particle is missing are looked at.
_MOST_PLACES = 256


class Contradictions:
    """The particles of one configuration, asked whether a translation of the lattice can be true.

    A true one maps no contributing particle onto another. There and back it maps every particle to a place where one
    of its species is, if that is within the cutoff of a contributing particle: a simulator lists all of those.
    """

    def __init__(self, particles: ParticleList, cutoff: float) -> None:
        """Sort all particles.

        Args:
            particles: The configuration.
            cutoff: Cutoff of the edges, Å.
        """
        self._particles = particles
        self._cutoff = cutoff
        self._own = particles.coordinates[particles.own]
        self._middle = self._own.mean(axis=0)
        self._low, self._high = self._own.min(axis=0) - cutoff, self._own.max(axis=0) + cutoff
        everywhere = replace(particles.places, contributing=np.ones(len(particles), dtype=bool))
        self._all = ImageFinder(everywhere, NO_LATTICE)

    def of(self, translation: np.ndarray) -> bool:
        """Return whether something speaks against a translation [3], Å."""
        particles = self._particles
        places = self._own + translation
        found = self._all.find(places, np.zeros(len(places), dtype=np.int32))
        if particles.contributing[found[found >= 0]].any():
            return True
        return self._is_contradicted(translation) or self._is_contradicted(-translation)

    def _is_contradicted(self, translation: np.ndarray) -> bool:
        """Return whether a particle is moved to where one of another species is, or where one is missing."""
        particles = self._particles
        places = particles.coordinates + translation
        inside = np.flatnonzero(((places >= self._low) & (places <= self._high)).all(axis=1))
        places = places[inside]
        found = self._all.find(places, np.zeros(len(places), dtype=np.int32))
        is_there = found >= 0
        codes = particles.species_codes
        if (codes[found[is_there]] != codes[inside[is_there]]).any():
            return True
        # The nearest places are tried: others are likely to be out of reach.
        places = places[~is_there]
        squared = ((places - self._middle) ** 2).sum(axis=1)
        # Rounding may put a pair on either side of the cutoff.
        within = self._cutoff - 2.0 * particles.tolerance
        for place in places[np.argsort(squared)[:_MOST_PLACES]]:
            if ((self._own - place) ** 2).sum(axis=1).min() < within**2:
                return True
        return False
