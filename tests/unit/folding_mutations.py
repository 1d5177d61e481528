# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mappings that are wrong in one place, and wrong mappings that explain every image: what the proof must refuse."""

from dataclasses import replace

import numpy as np
from paddings import Padded
from scipy.spatial import cKDTree

from kim_torchml.inputs.folding.rows import ParticleList, Rows

# What a mutation returns: the particles and their mapping, one of them wrong.
Mutated = tuple[ParticleList, Rows]


def changed(array, place, value):
    """Return a copy of an array with another value in one place."""
    copy = array.copy()
    copy[place] = value
    return copy


def _other(random, number, value):
    """Return a random number below another one, but not this value."""
    return int(random.choice(np.delete(np.arange(number), value)))


def wrong_owner(padded: Padded, random) -> Mutated:
    rows, place = padded.rows(), random.choice(padded.images)
    row = _other(random, rows.n_own, rows.row_of_particle[place])
    return padded.particles(), replace(rows, row_of_particle=changed(rows.row_of_particle, place, row))


def no_owner(padded: Padded, random) -> Mutated:
    """Leave a particle that needs an owner without one."""
    rows, place = padded.rows(), random.choice(padded.images)
    row_of_particle, shifts = changed(rows.row_of_particle, place, -1), changed(rows.shifts, place, 0)
    return padded.particles(), replace(rows, row_of_particle=row_of_particle, shifts=shifts)


def wrong_lattice(padded: Padded, random) -> Mutated:
    """Change one translation by 1e-5 to 1 Å along one axis."""
    rows = padded.rows()
    place = (random.integers(len(rows.lattice)), random.integers(3))
    change = random.choice([-1.0, 1.0]) * 10.0 ** random.uniform(-5, 0)
    return padded.particles(), replace(rows, lattice=changed(rows.lattice, place, rows.lattice[place] + change))


def wrong_translation(padded: Padded, random) -> Mutated:
    """Replace one translation by another translation of the same lattice."""
    rows = padded.rows()
    place, weights = random.integers(len(rows.lattice)), random.integers(-2, 3, len(rows.lattice))
    weights[place] = random.choice([-2, -1, 2, 3])
    return padded.particles(), replace(rows, lattice=changed(rows.lattice, place, weights @ rows.lattice))


def wrong_shift(padded: Padded, random) -> Mutated:
    rows, d = padded.rows(), padded.shifts.shape[1]
    place = (random.choice(padded.images), random.integers(d))
    shift = rows.shifts[place] + random.choice([-2, -1, 1, 2])
    return padded.particles(), replace(rows, shifts=changed(rows.shifts, place, shift))


def shift_of_own(padded: Padded, random) -> Mutated:
    """Give a contributing particle a shift."""
    rows, d = padded.rows(), padded.shifts.shape[1]
    place = (random.choice(padded.own), random.integers(d))
    return padded.particles(), replace(rows, shifts=changed(rows.shifts, place, random.choice([-1, 1])))


def owner_of_own(padded: Padded, random) -> Mutated:
    """Give a contributing particle the row of another one, or none."""
    rows, k = padded.rows(), random.integers(len(padded.own))
    row = int(random.choice([-1, _other(random, rows.n_own, k)]))
    return padded.particles(), replace(rows, row_of_particle=changed(rows.row_of_particle, padded.own[k], row))


def swapped_owners(padded: Padded, random) -> Mutated | None:
    rows = padded.rows()
    pair = random.choice(padded.images, 2, replace=False)
    if rows.row_of_particle[pair[0]] == rows.row_of_particle[pair[1]]:
        return None
    row_of_particle = changed(rows.row_of_particle, pair, rows.row_of_particle[pair[::-1]])
    return padded.particles(), replace(rows, row_of_particle=row_of_particle)


def swapped_images(padded: Padded, random) -> Mutated | None:
    """Swap what is said of two images: owner and shift."""
    rows = padded.rows()
    pair = random.choice(padded.images, 2, replace=False)
    row_of_particle = changed(rows.row_of_particle, pair, rows.row_of_particle[pair[::-1]])
    shifts = changed(rows.shifts, pair, rows.shifts[pair[::-1]])
    return padded.particles(), replace(rows, row_of_particle=row_of_particle, shifts=shifts)


def wrong_species(padded: Padded, random) -> Mutated:
    """Change the species of an image, or of a contributing particle that has images."""
    place = random.choice(padded.images)
    place = int(random.choice([place, padded.owner[place]]))
    code = padded.species_codes[place] + random.integers(1, 3)
    return replace(padded, species_codes=changed(padded.species_codes, place, code)).particles(), padded.rows()


def moved_image(padded: Padded, random) -> Mutated:
    """Move one image along one axis by 1e-4 to 1 Å: more than rounding 5,000 Å from the origin."""
    place = (random.choice(padded.images), random.integers(3))
    change = random.choice([-1.0, 1.0]) * 10.0 ** random.uniform(-4, 0)
    moved = changed(padded.coordinates, place, padded.coordinates[place] + change)
    return replace(padded, coordinates=moved).particles(), padded.rows()


def sheared(padded: Padded, random) -> Mutated | None:
    """Add the vector between two atoms to one translation, and find owners under this lattice."""
    codes = padded.species_codes[padded.own]
    i = random.integers(len(codes))
    j = random.choice(np.flatnonzero(codes == codes[i]))
    between = padded.coordinates[padded.own[j]] - padded.coordinates[padded.own[i]]
    place = random.integers(len(padded.lattice))
    if (
        i == j
        or abs(np.linalg.det(sheared_lattice := changed(padded.lattice, place, padded.lattice[place] + between))) < 1
    ):
        return None
    return padded.particles(), remapped(padded, sheared_lattice)[0]


MUTATIONS = (
    wrong_owner,
    no_owner,
    wrong_lattice,
    wrong_translation,
    wrong_shift,
    shift_of_own,
    owner_of_own,
    swapped_owners,
    swapped_images,
    wrong_species,
    moved_image,
)


def remapped(padded: Padded, lattice) -> tuple[Rows, bool]:
    """Return the mapping under another lattice of three translations, and whether it explains every image.

    Images that are not explained have no owner. The contributing particles must not be equivalent, or the flag is
    False too.
    """
    inverse = np.linalg.inv(lattice)
    fractional = (padded.coordinates - padded.coordinates.mean(axis=0)) @ inverse
    # The tree takes numbers from 0 to less than 1.
    inside = np.mod(fractional, 1.0) % 1.0
    own, images = padded.own, padded.images
    tree = cKDTree(inside[own], boxsize=1.0)
    distance, row = tree.query(inside[images], distance_upper_bound=1e-5)
    found = np.isfinite(distance)
    found[found] = padded.species_codes[own[row[found]]] == padded.species_codes[images[found]]
    row_of_particle = np.full(len(padded), -1)
    row_of_particle[own] = np.arange(len(own))
    row_of_particle[images[found]] = row[found]
    shifts = np.zeros((len(padded), 3), dtype=np.int64)
    between = fractional[images[found]] - fractional[own[row[found]]]
    shifts[images[found]] = np.round(between).astype(np.int64)
    is_unique = not len(tree.query_pairs(1e-5))
    return Rows(len(own), row_of_particle, lattice, shifts), bool(found.all()) and is_unique
