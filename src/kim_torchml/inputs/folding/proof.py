# SPDX-License-Identifier: LGPL-2.1-or-later
"""The proof that owners are right; it knows nothing of how they were found.

P1: no two contributing particles are images of each other.
P2: every image is its owner plus whole translations of one lattice, and of its species, unless no image has an edge.
P3: coordinates alone can have more than one explanation (a crystal with a defect deeper than the halo). So no other
translation may explain images, unless something speaks against it: it maps a contributing particle onto another, or a
particle to where another species or nothing is; or the list consists of blocks, one for each translation with owners
ascending, and no lattice that contains it gives it an order, block by block or owner by owner. Symmetries of the folded
system change nothing, as long as they are.
P4: with each translation of an image with an edge, all images within the cutoff that it predicts are there, and so its
inverse: a lattice that is too dense, or tilted another way, explains all images, and more.
"""

import numpy as np

from kim_torchml.inputs.folding.alternatives import Alternatives
from kim_torchml.inputs.folding.completeness import all_shifts, missing_image
from kim_torchml.inputs.folding.errors import DISPLACE, FoldingRefusedError, MissingImageError, place_of
from kim_torchml.inputs.folding.frames import is_frame_of
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.lattice import Lattice
from kim_torchml.inputs.folding.list_order import Mapping, mapping_of
from kim_torchml.inputs.folding.rows import ParticleList, Rows
from kim_torchml.inputs.folding.uniqueness import check_alternatives, check_other_readings

# For so few contributing particles it takes no time to prove all again.
_FEW_OWNERS = 16
_REMOVE = "remove one of the two"


def prove(
    particles: ParticleList,
    rows: Rows,
    cutoff: float,
    needed: np.ndarray | None = None,
    places: ImageFinder | None = None,
    known_cell: np.ndarray | None = None,
) -> np.ndarray:
    """Prove that rows are right.

    Args:
        particles: The configuration.
        rows: Rows that were found for it.
        cutoff: Cutoff of the edges, Å.
        needed: Particles with an edge, shape [n], bool; by default all.
        places: The contributing particles of `particles.places` under the lattice of the rows, if they are sorted
            already.
        known_cell: The cell in terms of the lattice's vectors, shape [d, d], if that lattice was proven to be the only
            one for an earlier configuration of the same simulation. If it is that of a crystal in three dimensions, P4
            is not proven again; nor is P3 where the list is what a simulator lists with this cell.
    Returns:
        Symmetries of the folded system that explain images otherwise, shape [k, 3], Å: the rows are proven as long as
        they are symmetries.
    Raises:
        FoldingRefusedError: If they are not proven.
    """
    _check_shapes(particles, rows)
    lattice = Lattice(rows.lattice)
    places = places or ImageFinder(particles.places, lattice)
    if lattice.rank:
        check_distinct(particles, places)
    mapping = mapping_of(particles, rows)
    _check_images(particles, rows, mapping, needed)
    if not mapping.tells_owners(rows.n_own):
        return prove_without_order(particles, rows, cutoff, places, mapping)
    is_known = known_cell is not None and lattice.rank == 3 and rows.n_own > _FEW_OWNERS
    if known_cell is not None and is_known and is_frame_of(particles, known_cell @ rows.lattice):
        return np.zeros((0, 3))
    if not is_known:
        part = mapping if needed is None else mapping.of(needed[mapping.images])
        _check_complete(particles, rows, cutoff, part.occurring_shifts)
    alternatives = Alternatives(particles, rows, mapping, cutoff, places)
    return check_other_readings(particles, rows, alternatives, cutoff, places, needed)


def prove_without_order(
    particles: ParticleList,
    rows: Rows,
    cutoff: float,
    places: ImageFinder | None = None,
    mapping: Mapping | None = None,
) -> np.ndarray:
    """Prove P3 and P4 for rows of which all else is proven, in a list whose order tells nothing.

    Returns:
        What `prove` does.
    Raises:
        FoldingRefusedError: If they are not proven.
    """
    shifts = all_shifts(particles, rows, cutoff)
    if shifts is None:
        raise FoldingRefusedError(
            "a list of particles whose order does not tell owners must be short enough to look at all images that the "
            f"lattice predicts, got {rows.n_own} contributing particles",
            "simulate fewer atoms",
        )
    _check_complete(particles, rows, cutoff, shifts)
    places = places or ImageFinder(particles.places, Lattice(rows.lattice))
    alternatives = Alternatives(particles, rows, mapping or mapping_of(particles, rows), cutoff, places)
    return check_alternatives(particles, alternatives, cutoff, places)


def _check_complete(particles: ParticleList, rows: Rows, cutoff: float, shifts: np.ndarray) -> None:
    missing = missing_image(particles, rows, cutoff, shifts)
    if missing is None:
        return
    place = ", ".join(f"{each:.6g}" for each in missing.place)
    where = f"at ({place}) Å, {missing.distance:.6g} Å from particle {missing.near}"
    is_made = (rows.shifts == missing.shift).all(axis=1) | (rows.shifts == -missing.shift).all(axis=1)
    made = np.flatnonzero(is_made & (rows.row_of_particle >= 0))
    if len(made):
        image, owner = int(made[0]), int(particles.own[rows.row_of_particle[made[0]]])
        reason = (
            f"{place_of(image, particles.coordinates)} must be a periodic image of a contributing particle, got one "
            f"that can only be of particle {owner}, where one of particle {missing.owner} is missing {where}"
        )
    else:
        reason = f"the image of particle {missing.owner} {where} must be among the particles, got none there"
    raise MissingImageError(reason, missing, rows)


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
        if not finder.lattice.rank:
            reason = f"no two contributing particles may be at one place, got {first} and {second}"
            raise FoldingRefusedError(reason, _REMOVE, is_staged_right=False)
        raise FoldingRefusedError(
            f"no two contributing particles may be periodic images of each other, got {first} and {second}",
            f"{DISPLACE}, or {_REMOVE}",
        )


def _check_images(particles: ParticleList, rows: Rows, mapping: Mapping, needed: np.ndarray | None) -> None:
    missing = np.flatnonzero(rows.row_of_particle < 0)
    if len(missing) and (needed is None or needed[particles.images].any()):
        raise FoldingRefusedError(
            f"{place_of(int(missing[0]), particles.coordinates)} must be a periodic image of a contributing particle, "
            f"got none that it is an image of ({len(missing)} such particles)"
        )
    at_owner = np.flatnonzero(~mapping.shifts.any(axis=1))
    if len(at_owner):
        image, owner = (int(each[at_owner[0]]) for each in (mapping.images, mapping.owners))
        raise FoldingRefusedError(
            f"{place_of(image, particles.coordinates)} must be away from its owner, particle {owner}, by a translation "
            "of the lattice, got none: the two are at one place",
            _REMOVE,
            is_staged_right=False,
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
