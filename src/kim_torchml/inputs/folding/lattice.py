# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lattices of zero to three translations."""

import itertools
import math

import numpy as np

# A translation is as good as none if no component is larger than so many tolerances.
_NOTHING = 50.0
# No particle has an image of itself nearer than this, Å: shorter vectors come of places that rounding tells apart.
_SHORTEST = 0.1
# A lattice may be so many times denser than one that it contains.
_MOST_TIMES_DENSER = 1000
# Relative difference of squared lengths below which a vector counts as no shorter than another.
_SHORTER = 1e-9

# Constants without a meaning: a direction, amplitudes and phases that no crystal shares.
_DIRECTION = np.array([0.8317, 0.4793, 0.2801]) / math.sqrt(0.8317**2 + 0.4793**2 + 0.2801**2)
_AMPLITUDES = np.array([1.0, 0.7548776662, 0.5698402910])
_PHASES = np.array([0.3, 1.1, 2.3])
# Between the sort keys of two species, Å.
_SPECIES_APART = 971.3


class Lattice:
    """All whole combinations of up to three translations.

    Attributes:
        vectors: the translations, linearly independent, shape [d, 3], Å.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        """Keep the translations."""
        self.vectors = np.asarray(vectors, dtype=np.float64).reshape(-1, 3)
        self._inverse = np.linalg.pinv(self.vectors) if len(self.vectors) else np.zeros((3, 0))

    @property
    def rank(self) -> int:
        """Number of translations."""
        return len(self.vectors)

    def nearest(self, translations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lattice's translations nearest to these, shape [n, 3].

        Returns:
            (shifts, in terms of the lattice's vectors, shape [n, d], float64; largest component of the difference,
            shape [n], Å).
        """
        shifts = np.rint(translations @ self._inverse)
        differences = np.abs(translations - shifts @ self.vectors)
        return shifts, np.maximum(np.maximum(differences[:, 0], differences[:, 1]), differences[:, 2])

    def with_translation(self, translation: np.ndarray, tolerance: float) -> "Lattice | None":
        """Return the lattice of this one's translations and another one, with short vectors; None if there is none.

        Args:
            translation: The other translation, shape [3], Å.
            tolerance: How far each may be off, Å.
        Returns:
            None where the translations are dense along some direction.
        """
        times = translation @ self._inverse
        if self.rank and np.abs(translation - times @ self.vectors).max() < _NOTHING * tolerance:
            # In the span of the others: then some whole multiple of it is one of their lattice.
            multiples = np.arange(1, _MOST_TIMES_DENSER + 1)[:, np.newaxis]
            off = np.abs((multiples * times - np.rint(multiples * times)) @ self.vectors).max(axis=1)
            if not (off < _NOTHING * tolerance * multiples[:, 0]).any():
                return None
        return _lattice_of([*self.vectors, translation], tolerance)

    def sort_keys(self, coordinates: np.ndarray, species_codes: np.ndarray) -> np.ndarray:
        """Return one number for each place that is equal for images of each other, and changes smoothly.

        Args:
            coordinates: Places, shape [n, 3], Å.
            species_codes: Species there, shape [n].
        Returns:
            Keys, shape [n], in Å; they change by at most `key_slope` where a place moves by 1 Å along
            every axis.
        """
        keys: np.ndarray = _SPECIES_APART * species_codes
        if not self.rank:
            return keys + coordinates @ _DIRECTION
        fractions = coordinates @ self._inverse
        # The gradient of each wave has at most its amplitude's length.
        wave_numbers = 2.0 * np.pi * np.linalg.norm(self._inverse, axis=0)
        waves = np.cos(2.0 * np.pi * fractions + _PHASES[: self.rank])
        keys = keys + waves @ (_AMPLITUDES[: self.rank] / wave_numbers)
        if self.rank < 3:
            keys = keys + (coordinates - fractions @ self.vectors) @ _DIRECTION
        return keys

    @property
    def key_slope(self) -> float:
        """Largest change of a sort key where a place moves by 1 Å along every axis."""
        return math.sqrt(3.0) * (1.0 + float(_AMPLITUDES[: self.rank].sum()))

    def is_same(self, other: "Lattice") -> bool:
        """Return whether a lattice that contains all of this one's translations has no others."""
        if self.rank != other.rank:
            return False
        own, others = (np.linalg.det(each.vectors @ each.vectors.T) for each in (self, other))
        return bool(np.isclose(own, others, rtol=1e-9))


NO_LATTICE = Lattice(np.zeros((0, 3)))


def _lattice_of(vectors: list[np.ndarray], tolerance: float) -> Lattice | None:
    """Return the lattice that translations, at most one more than it has, generate; None if they generate none."""
    # Each pass shortens a vector: there are few. What is not a lattice within rounding would go on for ever.
    for _ in range(200):
        vectors = sorted((each for each in vectors if np.abs(each).max() > _NOTHING * tolerance), key=_squared)
        if not _shorten_one(vectors):
            break
    basis = np.array(vectors).reshape(-1, 3)
    if len(basis) > 3 or (len(basis) and np.linalg.norm(basis, axis=1).min() < _SHORTEST):
        return None
    if len(basis) and np.linalg.matrix_rank(basis, tol=1e-3) < len(basis):
        return None
    return Lattice(basis)


def _squared(vector: np.ndarray) -> float:
    return float(vector @ vector)


def _shorten_one(vectors: list[np.ndarray]) -> bool:
    """Make the longest vector that whole multiples of shorter ones can shorten as short as they can."""
    for i in range(len(vectors) - 1, 0, -1):
        others = np.array(vectors[:i])
        nearest = np.rint(np.linalg.lstsq(others.T, vectors[i], rcond=1e-9)[0])
        offsets = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=i)))
        tried = vectors[i] - (nearest + offsets) @ others
        shortest = tried[np.argmin(np.einsum("ij,ij->i", tried, tried))]
        if _squared(shortest) < (1.0 - _SHORTER) * _squared(vectors[i]):
            vectors[i] = shortest
            return True
    return False
