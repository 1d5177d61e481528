# SPDX-License-Identifier: LGPL-2.1-or-later
"""The proof that owners are right; it knows nothing of how they were found.

P1: no two contributing particles are images of each other.
P2: every image is its owner plus whole translations of one lattice, and of its species, unless no image has an edge.
P3: coordinates alone can have more than one explanation (a crystal with a defect deeper than the halo). So the list of
images must have the order that simulators give it, one block for each translation with owners ascending; or no other
translation explains images, other than symmetries of the folded system, which change nothing.
P4: with each translation of an image with an edge, all images within the cutoff that it predicts are there, and so its
inverse: a lattice that is too dense, or tilted another way, explains all images, and more.
"""

import numpy as np

from kim_torchml.inputs.folding.completeness import all_shifts, missing_image
from kim_torchml.inputs.folding.contradictions import Contradictions
from kim_torchml.inputs.folding.errors import AmbiguousOwnersError, FoldingRefusedError, place_of
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import NO_LATTICE, Lattice
from kim_torchml.inputs.folding.list_order import FEW_OWNERS, Mapping, is_in_blocks, mapping_of, numbers_of
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# P3 without an order: so many images of each translation are tried, and for each so many images near it vote.
_TRIED_BY_TRANSLATION = 3
_MOST_TRIED = 96
_VOTERS = 24
_FIRST_VOTERS = 8
# Fewer votes are chance, as another translation explains a whole block of images.
_FEWEST_VOTES = 2
_MOST_ALTERNATIVES = 64
# Translations that are equal within so many Å are looked at once.
_SAME = 1e-4


def prove(
    particles: ParticleList,
    rows: Rows,
    cutoff: float,
    needed: np.ndarray | None = None,
    finder: ImageFinder | None = None,
    is_known: bool = False,
) -> None:
    """Prove that rows are right.

    Args:
        particles: The configuration.
        rows: Rows that were found for it.
        cutoff: Cutoff of the edges, Å.
        needed: Particles with an edge, shape [n], bool; by default all.
        finder: The contributing particles of `particles.places` under the lattice of the rows, if they are sorted
            already.
        is_known: Whether the lattice was proven for an earlier configuration of the same simulation. If it is that of a
            crystal in three dimensions, and the list has an order, P4 is not proven again.
    Raises:
        FoldingRefusedError: If they are not proven.
    """
    _check_shapes(particles, rows)
    lattice = Lattice(rows.lattice)
    if lattice.rank:
        check_distinct(particles, finder or ImageFinder(particles.places, lattice))
    mapping = mapping_of(particles, rows)
    _check_images(particles, rows, mapping, needed)
    are_ordered = is_in_blocks(mapping.owners, mapping.shifts)
    if not (is_known and are_ordered and lattice.rank == 3 and rows.n_own > FEW_OWNERS):
        _check_complete(particles, rows, cutoff, _occurring_shifts(mapping, needed))
    if not are_ordered:
        prove_without_order(particles, rows, cutoff)


def prove_without_order(particles: ParticleList, rows: Rows, cutoff: float) -> None:
    """Prove P3 for rows of which all else is proven, in a list whose order tells nothing.

    Raises:
        FoldingRefusedError: If it is not proven.
    """
    shifts = all_shifts(particles, rows, cutoff)
    if shifts is None:
        raise FoldingRefusedError(
            "a list of particles whose order does not tell owners must be short enough to look at all images that the "
            f"lattice predicts, got {rows.n_own} contributing particles",
            "simulate fewer atoms",
        )
    _check_complete(particles, rows, cutoff, shifts)
    _check_unique(particles, rows, cutoff)


def _occurring_shifts(mapping: Mapping, needed: np.ndarray | None) -> np.ndarray:
    """Return the translations of images with an edge, and their inverses: those of the edges' other ends."""
    occurring = mapping.shifts if needed is None else mapping.shifts[needed[mapping.images]]
    shifts = np.unique(np.concatenate([occurring, -occurring]), axis=0)
    return shifts[shifts.any(axis=1)]


def _check_complete(particles: ParticleList, rows: Rows, cutoff: float, shifts: np.ndarray) -> None:
    missing = missing_image(particles, rows, cutoff, shifts)
    if missing is None:
        return
    place = ", ".join(f"{each:.6g}" for each in missing.place)
    is_made = (rows.shifts == missing.shift).all(axis=1) | (rows.shifts == -missing.shift).all(axis=1)
    made = np.flatnonzero(is_made & (rows.row_of_particle >= 0))
    if len(made):
        image, owner = int(made[0]), int(particles.own[rows.row_of_particle[made[0]]])
        what = (
            f"{place_of(image, particles.coordinates)} must be a periodic image of a contributing particle, got one of "
            f"particle {owner} by a translation that would make an image of particle {missing.owner} as well"
        )
    else:
        what = f"the image of particle {missing.owner} that the lattice predicts must be among the particles, got none"
    raise FoldingRefusedError(
        f"{what} at ({place}) Å, {missing.distance:.6g} Å from particle {missing.near}, where there is none",
        "move the atoms into the cell if some are outside of it",
    )


def _check_shapes(particles: ParticleList, rows: Rows) -> None:
    n, n_own = len(particles), len(particles.own)
    rank = len(rows.lattice)
    if rows.row_of_particle.shape != (n,) or rows.shifts.shape != (n, rank) or rows.lattice.shape != (rank, 3):
        raise FoldingRefusedError(f"rows must be those of {n} particles, got {len(rows.row_of_particle)}")
    own_rows = rows.row_of_particle[particles.own]
    if rows.n_own != n_own or not np.array_equal(own_rows, np.arange(n_own)) or rows.shifts[particles.own].any():
        raise FoldingRefusedError("each contributing particle must have the row of its place among these, got others")
    if not np.isfinite(rows.lattice).all():
        raise FoldingRefusedError("the lattice must be finite numbers, got others")
    if (rows.row_of_particle < -1).any() or (rows.row_of_particle >= n_own).any():
        raise FoldingRefusedError(f"rows must be from 0 to {n_own - 1}, or -1, got others")


def check_distinct(particles: ParticleList, finder: ImageFinder) -> None:
    """Prove P1.

    Args:
        particles: The configuration.
        finder: The contributing particles of `particles.places`, under a lattice.
    Raises:
        FoldingRefusedError: If two are images of each other, or at one place.
    """
    pair = finder.equivalent_pair
    if pair is not None:
        first, second = (place_of(int(particles.own[each]), particles.coordinates) for each in sorted(pair))
        raise FoldingRefusedError(
            f"no two contributing particles may be at one place or periodic images of each other, got {first} and "
            f"{second}"
        )


def _check_images(particles: ParticleList, rows: Rows, mapping: Mapping, needed: np.ndarray | None) -> None:
    missing = np.flatnonzero(rows.row_of_particle < 0)
    if len(missing) and (needed is None or needed[particles.images].any()):
        raise FoldingRefusedError(
            f"{place_of(int(missing[0]), particles.coordinates)} must be a periodic image of a contributing particle, "
            f"got none that it is an image of ({len(missing)} such particles)"
        )
    codes = particles.species_codes
    strange = np.flatnonzero(codes[mapping.images] != codes[mapping.owners])
    if len(strange):
        image, owner = (int(each[strange[0]]) for each in (mapping.images, mapping.owners))
        raise FoldingRefusedError(
            f"{place_of(image, particles.coordinates)} must be of the species of its owner, particle {owner}, got "
            f"species code {codes[image]} for {codes[owner]}"
        )
    coordinates = particles.coordinates
    difference = coordinates[mapping.images] - coordinates[mapping.owners] - mapping.shifts @ rows.lattice
    far = np.abs(difference).max(axis=1, initial=0.0)
    if len(far) and not far.max() < particles.tolerance:
        worst = int(np.argmax(far))
        raise FoldingRefusedError(
            f"{place_of(int(mapping.images[worst]), coordinates)} must be where its owner, particle "
            f"{mapping.owners[worst]}, and the lattice place it, got a distance of {far[worst]:.3g} Å"
        )


def _check_unique(particles: ParticleList, rows: Rows, cutoff: float) -> None:
    """Prove that no other translation explains images, other than symmetries of the folded system.

    Were the owners wrong, the true translations would explain the images block by block, and not all of them could be
    symmetries: the system with the rows' lattice would be periodic with the true one as well, and so the same.

    Raises:
        FoldingRefusedError: If another translation does.
    """
    lattice = Lattice(rows.lattice)
    folded, plain = ImageFinder(particles, lattice), ImageFinder(particles, NO_LATTICE)
    contradictions = Contradictions(particles, cutoff)
    mapping = mapping_of(particles, rows)
    coordinates, codes = particles.coordinates, particles.species_codes
    own, own_codes = coordinates[particles.own], codes[particles.own]
    looked_at: set[tuple[int, ...]] = set()
    for place in _to_try(mapping):
        image = mapping.images[place]
        squared = ((coordinates[mapping.images] - coordinates[image]) ** 2).sum(axis=1)
        voters = mapping.images[np.argsort(squared)[:_VOTERS]]
        translations = coordinates[image] - own[own_codes == codes[image]]
        # Those that differ by a translation of the lattice are no others.
        is_other = lattice.nearest(translations - (coordinates[image] - coordinates[mapping.owners[place]]))[1]
        translations = translations[is_other > particles.tolerance]
        for translation in _voted_for(plain, particles, translations, voters):
            key = tuple(np.rint(translation / _SAME).astype(np.int64))
            if key in looked_at:
                continue
            looked_at.add(key)
            if not folded.is_symmetry(translation) and not contradictions.of(translation):
                raise AmbiguousOwnersError(
                    f"the owner of {place_of(int(image), coordinates)} must be the only one possible, got two: the "
                    "particles are a crystal that is perfect near the boundary but not everywhere, in a list without "
                    "the order that tells owners"
                )


def _voted_for(plain: ImageFinder, particles: ParticleList, translations: np.ndarray, voters: np.ndarray) -> np.ndarray:
    """Return the translations [m, 3] that explain some of the images that vote, those with most votes first."""
    votes = np.zeros(len(translations), dtype=np.int64)
    alive = np.arange(len(translations))
    for n, voter in enumerate(voters, start=1):
        places = particles.coordinates[voter] - translations[alive]
        votes[alive] += plain.find(places, np.full(len(alive), particles.species_codes[voter])) >= 0
        if n == _FIRST_VOTERS:
            alive = alive[votes[alive] > 1]
    likely = np.flatnonzero(votes >= min(_FEWEST_VOTES, len(voters)))
    most_voted: np.ndarray = translations[likely[np.argsort(-votes[likely], kind="stable")][:_MOST_ALTERNATIVES]]
    return most_voted


def _to_try(mapping: Mapping) -> np.ndarray:
    """Return places in the mapping: a few of each translation, spread over its images."""
    which = numbers_of(mapping.shifts)
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(which[order]) != 0)) if len(order) else order
    tried = []
    for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
        inside = np.linspace(start, end - 1, _TRIED_BY_TRANSLATION + 2)[1:-1]
        tried.append(order[np.unique(np.rint(inside).astype(np.int64))])
    return np.concatenate(tried)[:_MOST_TRIED] if tried else order
