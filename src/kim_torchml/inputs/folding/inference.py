# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lattice and the owner of every image, from coordinates, species and the order of the list alone.

Translations are found one after the other: the image nearest to the middle that no owner explains gives candidates, the
likeliest joins the lattice, and so on until all images are explained; where that leads nowhere, the next candidate
is tried. Whatever is found is proven before it is used.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np

from kim_torchml.inputs.folding.candidates import Candidates
from kim_torchml.inputs.folding.errors import (
    DISPLACE,
    AmbiguousOwnersError,
    FoldingRefusedError,
    place_of,
    too_far_error,
)
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE, Lattice
from kim_torchml.inputs.folding.list_order import mapping_of, numbers_of, rows_of
from kim_torchml.inputs.folding.proof import check_distinct, prove
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# So many lattices are tried by the order of the list, and as many by votes; identical molecules need 20 to 40. Those
# that map a contributing particle onto another count less: it takes little time to see that they are wrong.
_MOST_LATTICES = 80
_OVERLAPPING = 0.2
# At first, up to so many for each first translation, until this part of all is used.
_MOST_BY_FIRST = 8
_PART_IN_WIDTH = 0.6
# A lattice that explains all images but is not proven counts as so many: proofs take time, and others fail alike.
_UNPROVEN = 4
# Unexplained images that candidates are taken from, beside the nearest.
_OTHER_STARTS = 2
# A known lattice may have been strained since: so many images tell by how much, each within the first of these
# distances that is enough, Å.
STRAINED_IMAGES = 16
STRAIN_REACHES = (0.01, 0.3)
# A lattice that explains all images but less than this part is taken for the right one in messages. Where it was known
# from an earlier configuration, so few others are tried, in case the box has changed.
_FEW_UNEXPLAINED = 0.1
_MOST_OTHERS = 10
# Pairs of images of so few contributing particles do not tell whether the list has an order.
_FEW_OWNERS = 16
# Owners are never a matter of chance: the same particles give the same owners.
_SEED = 0


@dataclass(frozen=True)
class Known:
    """What one configuration of a simulation tells of the next.

    Attributes:
        lattice: its lattice, which may have been strained since, shape [d, 3], Å.
        is_ordered: whether its list had an order.
        cell: cell in which the list was a frame, in terms of the lattice's vectors, shape [d, d]; None if the lattice
            was not proven to be the only one whatever the coordinates, or there is no such cell.
    """

    lattice: np.ndarray
    is_ordered: bool
    cell: np.ndarray | None


def infer(
    particles: ParticleList,
    cutoff: float,
    needed: np.ndarray | None = None,
    known: Known | None = None,
) -> Rows:
    """Return the row of every particle.

    Args:
        particles: The configuration.
        cutoff: Cutoff of the edges, Å.
        needed: Particles with an edge, shape [n], bool; by default all. Where no image has one, none gets a row. Else
            all must be explained, as simulators list nothing but images: one that a lattice leaves speaks against it.
            Those get a row that share their translation, or its inverse, with one that has an edge.
        known: What earlier configurations of the same simulation told; its lattice is tried first.
    Returns:
        Rows that are proven.
    Raises:
        FoldingRefusedError: If there are none.
    """
    search = _Search(particles, cutoff, needed, known is None or known.is_ordered)
    farthest = particles.farthest
    if farthest is not None and search.is_any_needed:
        raise too_far_error(farthest, particles.coordinates)
    if known is not None and len(known.lattice):
        rows = search.settle(search.strained(Lattice(known.lattice)), known.cell)
        if rows is not None:
            return search.proven_part(rows)
        search.expect_little()
    return search.proven_part(search.from_nothing())


class _Search:
    """The search for one configuration.

    Attributes:
        is_any_needed: whether an image has an edge, so that owners are needed.
    """

    def __init__(self, particles: ParticleList, cutoff: float, needed: np.ndarray | None, is_ordered: bool) -> None:
        """Begin.

        Args:
            particles: The configuration.
            cutoff: Cutoff of the edges, Å.
            needed: Particles with an edge, shape [n], bool; None for all.
            is_ordered: Whether owners must explain the order of the list, until all else has failed. A perfect crystal
                has others, which are right until the first of its atoms moves.
        """
        self._is_ordered = is_ordered
        self._particles = particles
        self._cutoff = cutoff
        self._needed = needed
        images = particles.images
        self.is_any_needed = bool(len(images)) and (needed is None or bool(needed[images].any()))
        self._random = np.random.default_rng(_SEED)
        self._tried, self._most_tried = 0.0, float(_MOST_LATTICES)
        self._why: FoldingRefusedError | None = None
        self._unexplained: np.ndarray = images[:0]
        # The image nearest to the middle that the best lattice leaves, and how many it leaves.
        self._left, self._fewest = 0, len(images) + 1

    def expect_little(self) -> None:
        """Try few lattices if the ones so far explain all images but a few."""
        if self._is_nearly_explained:
            self._most_tried = _MOST_OTHERS

    @property
    def _is_nearly_explained(self) -> bool:
        return self._fewest < _FEW_UNEXPLAINED * len(self._particles.images)

    def from_nothing(self) -> Rows:
        """Return the rows, without knowing a lattice.

        Raises:
            FoldingRefusedError: If there are none.
        """
        particles = self._particles
        rows = self.settle(ImageFinder(particles, NO_LATTICE))
        if rows is not None:
            return rows
        if not len(particles.own):
            raise FoldingRefusedError("particles that do not contribute must be images of contributing ones, got none")
        check_distinct(particles, ImageFinder(particles.places, NO_LATTICE))
        if len(particles.own) <= _FEW_OWNERS or self._candidates.list_may_have_order():
            self._is_ordered, self._tried = True, 0.0
            rows = self._search_in_width() or self._search(NO_LATTICE, self._candidates.by_order)
        if rows is None:
            self._is_ordered, self._tried = False, 0.0
            rows = self._search(NO_LATTICE, self._candidates.by_vote)
        if rows is None and not self._is_nearly_explained:
            # One image that is wrong speaks against every true translation: it is found where nothing speaks.
            self._tried, self._most_tried = 0.0, _MOST_OTHERS
            rows = self._search(NO_LATTICE, self._candidates.by_vote_alone)
        if rows is not None:
            return rows
        raise self._reason()

    def proven_part(self, rows: Rows) -> Rows:
        """Return the rows without those of images whose translation makes no image with an edge, nor its inverse does.

        Nothing is proven of such a translation but that it explains this image, which may have an edge one day.
        """
        if self._needed is None:
            return rows
        mapping = mapping_of(self._particles, rows)
        part = mapping.of(self._needed[mapping.images])
        numbers = numbers_of(np.concatenate([mapping.shifts, part.shifts, -part.shifts]))
        unproven = mapping.images[~np.isin(numbers[: len(mapping.images)], np.unique(numbers[len(mapping.images) :]))]
        if not len(unproven):
            return rows
        row_of_particle, shifts = rows.row_of_particle.copy(), rows.shifts.copy()
        row_of_particle[unproven], shifts[unproven] = -1, 0
        return replace(rows, row_of_particle=row_of_particle, shifts=shifts)

    @cached_property
    def _candidates(self) -> Candidates:
        return Candidates(self._particles, self._cutoff, self._random)

    def _reason(self) -> FoldingRefusedError:
        """Return what comes nearest to the truth of all that was found wrong."""
        if isinstance(self._why, AmbiguousOwnersError):
            return self._why
        # The few images that a lattice leaves are what is wrong, rather than the lattice that explains all others.
        if self._is_nearly_explained:
            return self._unexplained_error(self._left, "the lattice that explains the others")
        return self._why or self._unexplained_error(self._left, "any of the lattices that were tried")

    def _unexplained_error(self, image: int, lattices: str) -> FoldingRefusedError:
        place = place_of(int(self._particles.images[image]), self._particles.coordinates)
        return FoldingRefusedError(
            f"{place} must be a periodic image of a contributing particle, got none that it is an image of under "
            f"{lattices}",
            DISPLACE,
        )

    def _search_in_width(self) -> Rows | None:
        """Return what `_search` does by the order of the list, trying few lattices for each first translation.

        A wrong first translation leads to more lattices than can be tried.
        """
        most, most_here = self._most_tried, self._tried + _PART_IN_WIDTH * self._most_tried
        self.settle(ImageFinder(self._particles, NO_LATTICE))
        try:
            for translation in chain.from_iterable(map(self._candidates.by_order, self._starts())):
                self._most_tried = min(self._tried + _MOST_BY_FIRST, most_here)
                lattice = NO_LATTICE.with_translation(translation, self._particles.tolerance)
                rows = None if lattice is None else self._search(lattice, self._candidates.by_order)
                if rows is not None or self._tried >= most_here:
                    return rows
            return None
        finally:
            self._most_tried = most

    def _search(self, lattice: Lattice, candidates_of: Callable[[int], Iterator[np.ndarray]]) -> Rows | None:
        """Return proven rows with a lattice that contains this one, or None.

        Args:
            lattice: The lattice.
            candidates_of: Function that gives translations for an image.
        """
        rows = self.settle(ImageFinder(self._particles, lattice))
        if rows is not None or not len(self._unexplained):
            return rows
        for translation in chain.from_iterable(map(candidates_of, self._starts())):
            longer = lattice.with_translation(translation, self._particles.tolerance)
            if longer is None or lattice.is_same(longer):
                continue
            rows = self._search(longer, candidates_of)
            if rows is not None or self._tried >= self._most_tried:
                return rows
        return None

    def _starts(self) -> list[int]:
        """Return unexplained images, by their index among the images: the nearest to the middle, and random others.

        The nearest may be alone in its block; most images are in large ones.
        """
        others = self._random.permutation(self._unexplained)[:_OTHER_STARTS]
        return [self._nearest_unexplained(), *map(int, others)]

    def _nearest_unexplained(self) -> int:
        """Return the unexplained image, by its index among the images, that is nearest to the middle."""
        images = self._particles.images
        return int(np.searchsorted(images, self._particles.nearest(images[self._unexplained])))

    def settle(self, finder: ImageFinder, known_cell: np.ndarray | None = None) -> Rows | None:
        """Return the rows under a lattice if they are proven; sets `_unexplained` to the images that lack an owner.

        Args:
            finder: The contributing particles under that lattice.
            known_cell: Its cell, if it was proven for an earlier configuration.
        """
        particles, lattice = self._particles, finder.lattice
        images = particles.images
        self._unexplained = images[:0]
        places = finder if particles.places is particles else ImageFinder(particles.places, lattice)
        if lattice.rank and places.equivalent_pair is not None:
            self._tried += _OVERLAPPING
            return None
        self._tried += 1.0
        if not lattice.rank:
            owners = np.full(len(images), -1, dtype=np.int64)
        else:
            owners = finder.find(particles.coordinates[images], particles.species_codes[images])
        left = np.flatnonzero(owners < 0)
        if lattice.rank and 0 < len(left) < _FEW_UNEXPLAINED * len(images):
            # The few images that it was found by tell the lattice less well than all others do together.
            lattice, owners = self._refined(lattice, owners)
            places = ImageFinder(particles.places, lattice)
            left = np.flatnonzero(owners < 0)
        self._unexplained = left if self.is_any_needed else images[:0]
        if len(self._unexplained):
            if lattice.rank and len(self._unexplained) < self._fewest:
                self._left, self._fewest = self._nearest_unexplained(), len(self._unexplained)
            return None
        try:
            return self._proven(lattice, owners, places, known_cell)
        except FoldingRefusedError as error:
            # The first that says of two explanations says most; others speak of lattices that are likely to be wrong.
            if self._why is None or (
                isinstance(error, AmbiguousOwnersError) and not isinstance(self._why, AmbiguousOwnersError)
            ):
                self._why = error
            self._tried += _UNPROVEN
            return None

    def _refined(self, lattice: Lattice, owners: np.ndarray) -> tuple[Lattice, np.ndarray]:
        """Return a lattice that is fitted to the images with owners, and the owners of all images under it."""
        particles = self._particles
        images, their_owners = particles.images[owners >= 0], particles.own[owners[owners >= 0]]
        translations = particles.coordinates[images] - particles.coordinates[their_owners]
        fit = fitted_vectors(lattice.nearest(translations)[0])
        if fit is None:
            return lattice, owners
        refined = Lattice(fit @ translations)
        finder = ImageFinder(particles, refined)
        return refined, finder.find(particles.coordinates[particles.images], particles.species_codes[particles.images])

    def _proven(
        self, lattice: Lattice, owners: np.ndarray, places: ImageFinder, known_cell: np.ndarray | None
    ) -> Rows | None:
        """Return the rows for owners, by the index among contributing particles, of all images; -1 for none.

        They are None where the list has to have an order and has none under this lattice.
        """
        particles = self._particles
        found = rows_of(particles, lattice, owners)
        mapping = mapping_of(particles, found)
        if self._is_ordered and not mapping.is_in_blocks:
            return None
        vectors = fitted_vectors(mapping.shifts)
        if vectors is not None:
            # All images together tell the lattice better than the few that it was found by.
            translations = particles.coordinates[mapping.images] - particles.coordinates[mapping.owners]
            found = replace(found, lattice=vectors @ translations)
        symmetries = prove(particles, found, self._cutoff, self._needed, places, known_cell)
        return replace(found, symmetries=symmetries)

    def strained(self, lattice: Lattice) -> ImageFinder:
        """Return the contributing particles under a lattice as it is now: it may have been strained since it was found.

        A few images show by how much.
        """
        particles = self._particles
        finder = ImageFinder(particles, lattice)
        sample = self._random.permutation(particles.images)[:STRAINED_IMAGES]
        if (finder.find(particles.coordinates[sample], particles.species_codes[sample]) >= 0).all():
            return finder
        coordinates, codes = particles.coordinates[sample], particles.species_codes[sample]
        for reach in STRAIN_REACHES:
            images, owners, shifts = finder.find_near(coordinates, codes, reach)
            translations = coordinates[images] - particles.coordinates[particles.own[owners]]
            strained = strained_lattice(lattice, translations, shifts, particles.tolerance)
            if strained is not None:
                return finder if strained is lattice else ImageFinder(particles, strained)
        return finder


def strained_lattice(
    lattice: Lattice, translations: np.ndarray, shifts: np.ndarray, tolerance: float
) -> Lattice | None:
    """Return a lattice as some translations have it: the same one where it has not been strained.

    Args:
        lattice: The lattice as it was.
        translations: Translations between images, shape [m, 3], Å.
        shifts: The same in terms of the lattice, shape [m, d].
        tolerance: How far the translations may be off, Å.
    Returns:
        None where these do not tell all of its vectors.
    """
    fit = fitted_vectors(shifts)
    if fit is None:
        return None
    off = np.abs(translations - shifts @ lattice.vectors).max()
    return lattice if off < 0.5 * tolerance else Lattice(fit @ translations)


def fitted_vectors(shifts: np.ndarray) -> np.ndarray | None:
    """Return the matrix [d, m] that gives a lattice's vectors from translations [m, 3], by least squares.

    Args:
        shifts: The translations in terms of the lattice, shape [m, d].
    Returns:
        None where these do not tell all vectors.
    """
    squares = shifts.T @ shifts
    if not len(squares) or np.linalg.matrix_rank(squares.astype(np.float64), hermitian=True) < len(squares):
        return None
    fit: np.ndarray = np.linalg.inv(squares) @ shifts.T
    return fit
