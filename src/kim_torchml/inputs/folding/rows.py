# SPDX-License-Identifier: LGPL-2.1-or-later
"""What folding is made from, and what it gives."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

# An image is its owner plus a translation up to the rounding of the simulator and of its units: so many Å, and so many
# for each Å of the largest coordinate.
_TOLERANCE = 1e-7
_RELATIVE_TOLERANCE = 4e-9
# Coordinates that need a larger tolerance, Å, do not tell images from other particles: they are beyond 2.5e5 Å.
_LARGEST_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ParticleList:
    """The particles of one configuration, in the simulator's order.

    Attributes:
        coordinates: Cartesian coordinates, shape [n, 3], float64, Å.
        species_codes: KIM's species codes, shape [n], int32.
        contributing: whether each particle contributes, shape [n], bool.
        parts: of a list that is put together of those of several ranks, the rank of each particle, shape [n], int64:
            of a contributing one the rank that computes it, of an image the rank that has listed it. None for the list
            of one simulator.
    """

    coordinates: np.ndarray
    species_codes: np.ndarray
    contributing: np.ndarray
    parts: np.ndarray | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.species_codes)

    @cached_property
    def own(self) -> np.ndarray:
        """Contributing particles, ascending."""
        return np.flatnonzero(self.contributing)

    @cached_property
    def images(self) -> np.ndarray:
        """Particles that do not contribute, ascending."""
        return np.flatnonzero(~self.contributing)

    @cached_property
    def tolerance(self) -> float:
        """How far an image may be from where its owner and the lattice place it, along each axis, Å."""
        return _TOLERANCE + _RELATIVE_TOLERANCE * float(np.abs(self.coordinates).max(initial=0.0))

    def is_list_of(self, species_codes: np.ndarray, contributing: np.ndarray) -> bool:
        """Return whether this is a list of these species, shape [n], and contributing particles, shape [n]."""
        return np.array_equal(self.species_codes, species_codes) and np.array_equal(self.contributing, contributing)

    def surely_within(self, cutoff: float) -> float:
        """Return a distance, Å, below which a pair is within a cutoff: rounding may put others on either side."""
        return cutoff - 2.0 * self.tolerance

    @property
    def farthest(self) -> int | None:
        """A particle that is too far from the origin for images to be told apart, or at no number; None if none is."""
        if self.tolerance < _LARGEST_TOLERANCE:
            return None
        return int(np.argmax(np.abs(self.coordinates).max(axis=1)))

    def nearest(self, chosen: np.ndarray) -> int:
        """Return that of some particles, shape [m], that is nearest to the middle of the contributing ones."""
        squared = ((self.coordinates[chosen] - self.coordinates[self.own].mean(axis=0)) ** 2).sum(axis=1)
        return int(chosen[np.argmin(squared)])

    @cached_property
    def places(self) -> "ParticleList":
        """The same particles, all with species code 0: two of any species cannot be at one place."""
        if not self.species_codes.any():
            return self
        return replace(self, species_codes=np.zeros_like(self.species_codes))


@dataclass(frozen=True)
class Rows:
    """The row of each particle: images have that of their owner.

    Attributes:
        n_own: number of rows: one for each contributing particle, ascending.
        row_of_particle: row of each particle, shape [n], int64; -1 for an image without an edge and a proven owner.
        lattice: translations of the lattice, shape [d, 3] with d from 0 to 3, float64, Å.
        shifts: translation from the owner to each particle in terms of the lattice, shape [n, d], int64; 0 for
            contributing particles, and for images without an owner.
        symmetries: translations that explain images otherwise, shape [k, 3], Å: the system is periodic with them as
            well. The rows are proven for other coordinates only if it still is.
    """

    n_own: int
    row_of_particle: np.ndarray
    lattice: np.ndarray
    shifts: np.ndarray
    symmetries: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
