# SPDX-License-Identifier: LGPL-2.1-or-later
"""The proof that there is no other explanation of the images than rows give."""

from functools import cached_property

import numpy as np

from kim_torchml.inputs.folding.alternatives import Alternatives
from kim_torchml.inputs.folding.completeness import missing_image
from kim_torchml.inputs.folding.contradictions import Contradictions
from kim_torchml.inputs.folding.errors import DISPLACE, AmbiguousOwnersError, place_of
from kim_torchml.inputs.folding.frames import is_framed
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE, Lattice
from kim_torchml.inputs.folding.list_order import ExplainedParts, block_numbers, mapping_of, may_be_ordered, rows_of
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# More lattices than these would take long to look at: then there may be another reading.
_MOST_LATTICES = 500


def check_alternatives(
    particles: ParticleList, alternatives: Alternatives, cutoff: float, places: ImageFinder
) -> np.ndarray:
    """Check that nothing but symmetries explains images otherwise, in a list whose order tells nothing.

    Args:
        particles: The configuration.
        alternatives: Translations that explain images otherwise.
        cutoff: Cutoff of the edges, Å.
        places: The contributing particles of `particles.places` under the lattice.
    Returns:
        Symmetries that do, and that generate all others, shape [k, 3], Å.
    Raises:
        AmbiguousOwnersError: If something else does.
    """
    contradictions = Contradictions(particles, ImageFinder(particles.places, NO_LATTICE), cutoff)
    symmetries = _Symmetries(particles, places)
    for image in alternatives.telling_images():
        for translation in contradictions.hardly_overlapping(alternatives.of(image)):
            if symmetries.has(translation) or contradictions.overlaps(translation) or symmetries.add(translation):
                continue
            if not contradictions.of(translation):
                raise _two_owners(particles, image, "without the order that tells owners")
    return symmetries.found


def check_other_readings(
    particles: ParticleList,
    rows: Rows,
    alternatives: Alternatives,
    cutoff: float,
    places: ImageFinder,
    needed: np.ndarray | None,
) -> np.ndarray:
    """Check that no other lattice reads a list of blocks, but for symmetries.

    Args:
        particles: The configuration.
        rows: Its rows, whose images are in blocks.
        alternatives: Translations that explain images otherwise.
        cutoff: Cutoff of the edges, Å.
        places: The contributing particles of `particles.places` under the lattice.
        needed: Particles with an edge, shape [n], bool; None for all.
    Returns:
        Symmetries that explain images otherwise, shape [k, 3], Å.
    Raises:
        AmbiguousOwnersError: If one does.
    """
    symmetries = _Symmetries(particles, places)
    readings = _Readings(particles, rows, alternatives, symmetries, cutoff)
    disputed = [image for image in alternatives.telling_images() if readings.is_disputed(image)]
    if disputed and readings.has_other(needed):
        raise _two_owners(particles, disputed[0], "whose order two lattices explain")
    return symmetries.found


def are_symmetries(particles: ParticleList, places: ImageFinder, translations: np.ndarray) -> bool:
    """Return whether all translations map every contributing particle onto one, or onto an image of one.

    Args:
        particles: The configuration.
        places: The contributing particles of `particles.places` under its lattice.
        translations: The translations, shape [k, 3], Å.
    """
    own, codes = particles.coordinates[particles.own], particles.species_codes[particles.own]
    for translation in translations:
        found = places.find_place(own + translation)
        if (found < 0).any() or (codes[found] != codes).any():
            return False
    return True


class _Symmetries:
    """Symmetries of the folded system: combinations of these are symmetries as well."""

    def __init__(self, particles: ParticleList, places: ImageFinder) -> None:
        self._particles, self._places = particles, places
        self._lattice, self._found = places.lattice, np.zeros((0, 3))

    @property
    def found(self) -> np.ndarray:
        return self._found

    def has(self, translations: np.ndarray) -> bool:
        """Return whether translations, shape [3] or [m, 3], are combinations of those that are known."""
        translations = translations.reshape(-1, 3)
        if not self._lattice.rank:
            return not len(translations)
        return bool((self._lattice.nearest(translations)[1] < self._particles.tolerance).all())

    def add(self, translation: np.ndarray) -> bool:
        """Return whether a translation is a symmetry; it is kept if it is."""
        if not are_symmetries(self._particles, self._places, translation[np.newaxis]):
            return False
        self._found = np.append(self._found, translation[np.newaxis], axis=0)
        self._lattice = self._lattice.with_translation(translation, self._particles.tolerance) or self._lattice
        return True


class _Readings:
    """Lattices that explain all images of a list as well as that of its rows: block by block, or owner by owner."""

    def __init__(
        self,
        particles: ParticleList,
        rows: Rows,
        alternatives: Alternatives,
        symmetries: _Symmetries,
        cutoff: float,
    ) -> None:
        self._particles, self._rows, self._cutoff = particles, rows, cutoff
        self._alternatives, self._symmetries = alternatives, symmetries
        own_places = ImageFinder(particles.places, NO_LATTICE)
        self._contradictions = Contradictions(particles, own_places, cutoff)
        self._parts = ExplainedParts(particles, own_places)
        self._known: dict[int, list[np.ndarray]] = {}
        self._tried = 0

    def translations_of(self, image: int) -> list[np.ndarray]:
        """Return all translations [3], Å, that may have made an image, that of the rows first."""
        if image not in self._known:
            coordinates = self._particles.coordinates
            others = self._contradictions.hardly_overlapping(self._alternatives.of(image))
            likeliest = self._parts.maybe_ascending(int(np.searchsorted(self._particles.images, image)), others)
            self._known[image] = [
                coordinates[image] - coordinates[self._alternatives.owner(image)],
                *(each for each in likeliest if self._parts.are_ascending(each) and not self._contradictions.of(each)),
            ]
        return self._known[image]

    def is_disputed(self, image: int) -> bool:
        """Return whether another translation may have made an image that is no symmetry; all symmetries are kept."""
        are_disputed = False
        for translation in self.translations_of(image)[1:]:
            is_symmetry = self._symmetries.has(translation) or self._symmetries.add(translation)
            are_disputed |= not is_symmetry
        return are_disputed

    def has_other(self, needed: np.ndarray | None, lattice: Lattice = NO_LATTICE) -> bool:
        """Return whether there may be another one, under which images with an edge have other owners.

        A simulator lists all images in a frame of its cell. If the rows explain one, readings count that do as well.

        Args:
            needed: Particles with an edge, shape [n], bool; None for all.
            lattice: A lattice that that of the other reading contains.
        """
        self._tried += 1
        if self._tried > _MOST_LATTICES:
            return True
        particles = self._particles
        places = ImageFinder(particles.places, lattice)
        if lattice.rank and places.equivalent_pair is not None:
            return False
        images, codes = particles.images, particles.species_codes
        owners = np.full(len(images), -1, dtype=np.int64)
        if lattice.rank:
            owners = places.find_place(particles.coordinates[images])
        explained = np.flatnonzero(owners >= 0)
        if (codes[particles.own[owners[explained]]] != codes[images[explained]]).any():
            return False
        if lattice.rank:
            their_owners = particles.own[owners[explained]]
            translations = particles.coordinates[images[explained]] - particles.coordinates[their_owners]
            shifts = lattice.nearest(translations)[0]
            numbers = block_numbers(particles, images[explained], their_owners, shifts)
            if not may_be_ordered(explained, owners[explained], numbers):
                return False
        if len(explained) == len(images):
            return self._is_other(lattice, owners, needed)
        for translation in self.translations_of(particles.nearest(images[owners < 0])):
            longer = lattice.with_translation(translation, particles.tolerance)
            if longer is not None and not lattice.is_same(longer) and self.has_other(needed, longer):
                return True
        return False

    @cached_property
    def _are_rows_framed(self) -> bool:
        return is_framed(self._particles, self._rows)

    def _is_other(self, lattice: Lattice, owners: np.ndarray, needed: np.ndarray | None) -> bool:
        """Return whether a lattice that explains all images is another reading.

        Args:
            lattice: The lattice.
            owners: Index among the contributing particles of each image's owner, shape [m].
            needed: Particles with an edge, shape [n], bool; None for all.
        """
        particles, rows = self._particles, rows_of(self._particles, lattice, owners)
        is_other = rows.row_of_particle != self._rows.row_of_particle
        different = np.flatnonzero(is_other if needed is None else is_other & needed)
        own = particles.coordinates[particles.own]
        between = own[rows.row_of_particle[different]] - own[self._rows.row_of_particle[different]]
        if self._symmetries.has(between):
            return False
        mapping = mapping_of(particles, rows)
        # Along directions without images, a frame is taken to be upright: which these are must not be in dispute.
        are_comparable = _have_same_span(rows.lattice, self._rows.lattice) and self._are_rows_framed
        if are_comparable and not is_framed(particles, rows):
            return False
        return missing_image(particles, rows, self._cutoff, mapping.occurring_shifts) is None


def _have_same_span(vectors: np.ndarray, others: np.ndarray) -> bool:
    ranks = [np.linalg.matrix_rank(each, tol=1e-3) for each in (vectors, others, np.concatenate([vectors, others]))]
    return bool(ranks[0] == ranks[1] == ranks[2])


def _two_owners(particles: ParticleList, image: int, order: str) -> AmbiguousOwnersError:
    return AmbiguousOwnersError(
        f"the owner of {place_of(image, particles.coordinates)} must be the only one possible, got two: the particles "
        "are a crystal that is perfect near the boundary but not everywhere, or apart and alike in parts, in a list "
        f"{order}",
        DISPLACE,
    )
