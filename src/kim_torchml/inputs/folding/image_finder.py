# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the particle that a place is an image of."""

from functools import cached_property

import numpy as np

from kim_torchml.inputs.folding.lattice import Lattice
from kim_torchml.inputs.folding.rows import ParticleList


class ImageFinder:
    """The contributing particles of a configuration, and their images under a lattice.

    Attributes:
        lattice: the lattice.
    """

    def __init__(self, particles: ParticleList, lattice: Lattice) -> None:
        """Sort the contributing particles by keys that images share."""
        self.lattice = lattice
        self._coordinates = particles.coordinates[particles.own]
        self._species_codes = particles.species_codes[particles.own]
        self._tolerance = particles.tolerance
        keys = lattice.sort_keys(self._coordinates, self._species_codes)
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        # Two places that are images of each other within the tolerance have keys that differ by less.
        self._key_tolerance = 2.0 * self._tolerance * lattice.key_slope

    def find(self, coordinates: np.ndarray, species_codes: np.ndarray) -> np.ndarray:
        """Return which contributing particle each place is an image of, or is.

        Args:
            coordinates: Places, shape [m, 3], Å.
            species_codes: Species there, shape [m].
        Returns:
            Index among the contributing particles, shape [m], int64; -1 for none.
        """
        found = np.full(len(coordinates), -1, dtype=np.int64)
        keys = self.lattice.sort_keys(coordinates, species_codes)
        next_one = np.searchsorted(self._keys, keys - self._key_tolerance)
        last = len(self._keys)
        is_candidate = np.append(self._keys, np.inf)[next_one] <= keys + self._key_tolerance
        waiting = np.flatnonzero(is_candidate)
        while len(waiting):
            tried = self._order[next_one[waiting]]
            _, distance = self.lattice.nearest(coordinates[waiting] - self._coordinates[tried])
            is_image = (distance < self._tolerance) & (self._species_codes[tried] == species_codes[waiting])
            found[waiting[is_image]] = tried[is_image]
            waiting = waiting[~is_image]
            next_one[waiting] += 1
            waiting = waiting[next_one[waiting] < last]
            waiting = waiting[self._keys[next_one[waiting]] <= keys[waiting] + self._key_tolerance]
        return found

    def find_place(self, coordinates: np.ndarray) -> np.ndarray:
        """Return what `find` does, where all contributing particles have species code 0 (`ParticleList.places`)."""
        return self.find(coordinates, np.zeros(len(coordinates), dtype=np.int32))

    def find_near(
        self, coordinates: np.ndarray, species_codes: np.ndarray, reach: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, for each place, the contributing particle that has an image nearest to it, if one is within reach.

        Args:
            coordinates: Places, shape [m, 3], Å.
            species_codes: Species there, shape [m].
            reach: Distance along any axis, Å.
        Returns:
            (the places that have one, shape [k]; index of each one's among the contributing particles, shape [k];
            translations to those images in terms of the lattice, shape [k, d], float64).
        """
        window = reach * self.lattice.key_slope
        keys = self.lattice.sort_keys(coordinates, species_codes)
        firsts, ends = np.searchsorted(self._keys, [keys - window, keys + window])
        found: list[tuple[int, int, np.ndarray]] = []
        for place, (first, end) in enumerate(zip(firsts, ends, strict=True)):
            tried = self._order[first:end]
            tried = tried[self._species_codes[tried] == species_codes[place]]
            shifts, distance = self.lattice.nearest(coordinates[place] - self._coordinates[tried])
            if len(tried) and distance.min() < reach:
                best = int(np.argmin(distance))
                found.append((place, int(tried[best]), shifts[best]))
        return (
            np.array([place for place, _, _ in found], dtype=np.int64),
            np.array([owner for _, owner, _ in found], dtype=np.int64),
            np.array([shift for _, _, shift in found]).reshape(-1, self.lattice.rank),
        )

    @cached_property
    def equivalent_pair(self) -> tuple[int, int] | None:
        """Two contributing particles (indices among these) that are images of each other, or at one place."""
        for apart in range(1, len(self._keys)):
            close = np.flatnonzero(self._keys[apart:] - self._keys[:-apart] < self._key_tolerance)
            if not len(close):
                return None
            first, second = self._order[close], self._order[close + apart]
            _, distance = self.lattice.nearest(self._coordinates[second] - self._coordinates[first])
            is_same_species = self._species_codes[first] == self._species_codes[second]
            are_images = np.flatnonzero((distance < self._tolerance) & is_same_species)
            if len(are_images):
                return int(first[are_images[0]]), int(second[are_images[0]])
        return None
