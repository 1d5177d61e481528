# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owners of images with a lattice that was proven before: each rank asks those alone whose boxes meet its own.

The lattice of one simulation changes by strain, which is followed. Under it an image has one owner or none, so that
what is left to prove, P1 to P3 of `folding.proof`, each rank proves of its own part of the system; P4 was proven with
the lattice. A user may have changed the box meanwhile: so the ranks ask each other whether another lattice could
explain the images as well.
"""

import itertools

import numpy as np

from kim_torchml.inputs.folding import ParticleList
from kim_torchml.inputs.folding.folding import MOST_STRAIN
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.inference import STRAIN_REACHES, STRAINED_IMAGES, strained_lattice
from kim_torchml.inputs.folding.lattice import NO_LATTICE, Lattice
from kim_torchml.inputs.folding.list_order import Mapping, is_evidence, numbers_of
from kim_torchml.inputs.joint.ranks import Ranks, exchanged_counts, ranks_of
from kim_torchml.inputs.joint.rows import Owners
from kim_torchml.inputs.joint.telling import Places, is_only_lattice

# By how much boxes are larger than what is in them, Å: by then the lattice may have been strained.
_MARGIN = 0.5
# Where boxes are met by more images of others than this, all ranks may as well ask all.
_MOST_SHIFTS = 1000
_SEED = 0


def owners_in_regions(
    particles: ParticleList, counts: np.ndarray, lattice: np.ndarray, cutoff: float, ranks: Ranks
) -> Owners | None:
    """Return the owners of this rank's images if ranks can tell them by themselves; all ranks must call this.

    Args:
        particles: This rank's particles.
        counts: Number of contributing particles of each rank, shape [ranks].
        lattice: The lattice that was proven last, shape [d, 3], Å; it may have been strained since.
        cutoff: Cutoff of the edges, Å.
        ranks: The ranks.
    Returns:
        None, on all ranks, where not every one of them has proven owners of all of its images.
    """
    region = _Region.around(particles, counts, Lattice(lattice), ranks)
    if region is None:
        return None
    now = region.strained(Lattice(lattice))
    if now is None:
        return None
    return region.proven(now, lattice, cutoff)


class _Region:
    """A rank's images, and the contributing particles of all ranks that may own them."""

    def __init__(self, particles: ParticleList, counts: np.ndarray, near: np.ndarray, ranks: Ranks) -> None:
        """Put the region together.

        Args:
            particles: The rank's particles.
            counts: Number of contributing particles of each rank, shape [ranks].
            near: Coordinates, species codes and numbers through all ranks of contributing particles, shape [m, 5].
            ranks: The ranks.
        """
        self._particles, self._counts, self._ranks = particles, counts, ranks
        self._places, self._codes = near[:, :3], near[:, 3]
        self._numbers = near[:, 4].astype(np.int64)
        self._images = particles.images
        # Two particles cannot be at one place, whatever their species.
        self._all = ParticleList(
            np.concatenate([self._places, particles.coordinates[self._images]]),
            np.zeros(len(near) + len(self._images), dtype=np.int32),
            np.arange(len(near) + len(self._images)) < len(near),
        )

    @classmethod
    def around(cls, particles: ParticleList, counts: np.ndarray, lattice: Lattice, ranks: Ranks) -> "_Region | None":
        """Return this rank's region; None, on all ranks, if one cannot have one. All ranks must call this."""
        if not ranks.all_are(particles.farthest is None):
            return None
        own = particles.coordinates[particles.own]
        boxes = np.concatenate(ranks.gathered(np.stack([_box(own), _box(particles.coordinates)])[np.newaxis]))
        wanted = []
        for theirs in boxes[:, 1]:
            shifts = _shifts_between(boxes[ranks.rank, 0], theirs, lattice)
            wanted.append(None if shifts is None else np.flatnonzero(_is_within(own, shifts @ lattice.vectors, theirs)))
        if not ranks.all_are(all(each is not None for each in wanted)):
            return None
        chosen = [each for each in wanted if each is not None]
        n_given = np.array([len(each) for each in chosen])
        n_taken = exchanged_counts(n_given, ranks)
        given = np.concatenate(chosen)
        first = int(counts[: ranks.rank].sum())
        codes = particles.species_codes[particles.own]
        rows = np.column_stack([own[given], codes[given], first + given]).astype(np.float64)
        return cls(particles, counts, ranks.exchanged(rows, n_given, n_taken), ranks)

    def strained(self, lattice: Lattice) -> Lattice | None:
        """Return the lattice as some images of all ranks have it; None, on all ranks, if these do not tell it."""
        if not lattice.rank:
            return lattice
        places = self._particles.coordinates[self._images]
        moved = places[ImageFinder(self._all, NO_LATTICE).find_place(places) < 0]
        chosen = np.random.default_rng(_SEED).permutation(len(moved))[:STRAINED_IMAGES]
        if len(moved):
            # Few images are moved along a long box, but those at its ends are.
            chosen = np.concatenate([chosen, moved.argmin(axis=0), moved.argmax(axis=0)])
        places, codes = moved[chosen], np.zeros(len(chosen), dtype=np.int32)
        finder = ImageFinder(self._all, lattice)
        for reach in STRAIN_REACHES:
            images, owners, shifts = finder.find_near(places, codes, reach)
            found = self._ranks.gathered(np.column_stack([places[images] - self._places[owners], shifts]))
            pairs = np.concatenate(found)
            strained = strained_lattice(lattice, pairs[:, :3], pairs[:, 3:], self._all.tolerance)
            if self._ranks.all_are(strained is not None):
                return strained
        return None

    def proven(self, lattice: Lattice, before: np.ndarray, cutoff: float) -> Owners | None:
        """Return the owners of the images; None, on all ranks, unless all are proven.

        Args:
            lattice: The lattice as some images have it.
            before: Its vectors as they were proven, shape [d, 3], Å.
            cutoff: Cutoff of the edges, Å.
        """
        finder = ImageFinder(self._all, lattice)
        places, codes = self._particles.coordinates[self._images], self._particles.species_codes[self._images]
        found = finder.find_place(places)
        # P1, and what P2 says of species.
        is_told = finder.equivalent_pair is None and bool((found >= 0).all() and (self._codes[found] == codes).all())
        if not self._ranks.all_are(is_told):
            return None
        owners, translations = self._numbers[found], places - self._places[found]
        shifts = lattice.nearest(translations)[0].astype(np.int64)
        is_moved = np.asarray(shifts.any(axis=1))
        vectors = self._refined(lattice, translations, shifts)
        owned = Owners(self._images, owners, shifts, vectors)
        moved = owned.of(is_moved)
        # An image without a translation is at its owner; but no rank lists its own particles twice.
        are_others = (ranks_of(owners[~is_moved], self._counts) != self._ranks.rank).all()
        # P3, for which all ranks are asked, whatever is found here.
        is_ordered = self._is_told_by_order(moved)
        # What is left of P2.
        off = np.abs(translations - shifts @ vectors).max(initial=0.0)
        is_strain = np.abs(vectors - before).max(initial=0.0) < MOST_STRAIN
        if not self._ranks.all_are(bool(off < self._all.tolerance and is_strain and is_ordered and are_others)):
            return None
        known = Places(finder, self._codes)
        is_only_one = is_only_lattice(self._particles, self._counts, moved, known, cutoff, self._ranks)
        return owned if self._ranks.all_are(is_only_one) else None

    def _refined(self, lattice: Lattice, translations: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Return the vectors of the lattice as all images of all ranks have it, shape [d, 3]; all must call this."""
        sums = np.concatenate([shifts.T @ shifts, shifts.T @ translations], axis=1)
        of_all = np.sum(self._ranks.gathered(sums[np.newaxis]), axis=(0, 1))
        squares, products = np.split(of_all, [lattice.rank], axis=1)
        return solved(squares, products, lattice.vectors)

    def _is_told_by_order(self, moved: Owners) -> bool:
        """Return whether this list has its images in blocks, and those of all ranks are no chance; all must call this.

        Args:
            moved: Images that are not where their owners are; those that are need no order.
        """
        blocks = numbers_of(np.column_stack([moved.shifts, ranks_of(moved.owners, self._counts)]))
        mapping = Mapping(moved.images, moved.owners, moved.shifts, blocks)
        told = np.array([[len(mapping.images), mapping.evidence]])
        n_moved, evidence = np.sum(self._ranks.gathered(told), axis=(0, 1))
        is_evident = n_moved == 0 or self._counts.sum() == 1 or is_evidence(float(evidence))
        return bool(is_evident and mapping.is_in_blocks)


def solved(squares: np.ndarray, products: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the vectors of a lattice by least squares, shape [d, 3].

    Args:
        squares: Products of all shifts with each other, shape [d, d], whole numbers.
        products: Products of all shifts with their translations, shape [d, 3], Å.
        known: What the vectors are where translations do not tell all of them, shape [d, 3], Å.
    """
    if not len(squares) or np.linalg.matrix_rank(squares, hermitian=True) < len(squares):
        return known
    vectors: np.ndarray = np.linalg.solve(squares, products)
    return vectors


def _box(coordinates: np.ndarray) -> np.ndarray:
    """Return the corners of a box around places, shape [2, 3], Å; of none, it meets no other."""
    return np.stack([coordinates.min(axis=0, initial=np.inf), coordinates.max(axis=0, initial=-np.inf)])


def _shifts_between(box: np.ndarray, other: np.ndarray, lattice: Lattice) -> np.ndarray | None:
    """Return the translations that make one box meet another, shape [s, d]; None where they are too many."""
    low, high = other[0] - _MARGIN - box[1], other[1] + _MARGIN - box[0]
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return np.zeros((0, lattice.rank))
    inverse = np.linalg.pinv(lattice.vectors)
    ends = np.stack([low[:, np.newaxis] * inverse, high[:, np.newaxis] * inverse])
    first, last = np.ceil(ends.min(axis=0).sum(axis=0)), np.floor(ends.max(axis=0).sum(axis=0))
    if np.prod(np.maximum(last - first + 1.0, 0.0)) > _MOST_SHIFTS:
        return None
    steps = (np.arange(start, end + 1.0) for start, end in zip(first, last, strict=True))
    combined = list(itertools.product(*steps))
    shifts = np.array(combined, dtype=np.float64).reshape(len(combined), lattice.rank)
    places = shifts @ lattice.vectors
    meeting: np.ndarray = shifts[((places >= low) & (places <= high)).all(axis=1)]
    return meeting


def _is_within(coordinates: np.ndarray, translations: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return which places, shape [n, 3], one of some translations, shape [s, 3], moves into a box, shape [n], bool."""
    is_there = np.zeros(len(coordinates), dtype=bool)
    for each in translations:
        moved = coordinates + each
        is_there |= ((moved >= box[0] - _MARGIN) & (moved <= box[1] + _MARGIN)).all(axis=1)
    return is_there
