# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a list has the images within the cutoff that a lattice predicts."""

import itertools
from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs.folding.list_order import mapping_of, numbers_of
from kim_torchml.inputs.folding.rows import ParticleList, Rows

# More predicted images than these, of all translations together, would take minutes and gigabytes to look at.
_MOST_PREDICTED = 10_000_000


@dataclass(frozen=True)
class MissingImage:
    """An image that a lattice predicts and a list lacks.

    Attributes:
        owner: the particle that it is an image of.
        place: where it would be, shape [3], Å.
        near: contributing particle that it would be a neighbour of.
        distance: their distance, Å.
        shift: its translation in terms of the lattice, shape [d].
    """

    owner: int
    place: np.ndarray
    near: int
    distance: float
    shift: np.ndarray


def spread(particles: ParticleList, rows: Rows) -> float:
    """Return over how many cells of the lattice, along the vector with the most, contributing particles are spread."""
    if not len(rows.lattice) or not len(particles.own):
        return 0.0
    fractions = particles.coordinates[particles.own] @ np.linalg.pinv(rows.lattice)
    return float(np.ptp(fractions, axis=0).max())


def all_shifts(particles: ParticleList, rows: Rows, cutoff: float) -> np.ndarray | None:
    """Return all translations that may bring one contributing particle within the cutoff of another, shape [k, d].

    Those of fewest steps are first: what they lack tells most.

    Returns:
        None where they are too many to look at.
    """
    if not len(rows.lattice) or not rows.n_own:
        return np.zeros((0, len(rows.lattice)), dtype=np.int64)
    inverse = np.linalg.pinv(rows.lattice)
    extent = np.ptp(particles.coordinates[particles.own] @ inverse, axis=0)
    most = np.floor(extent + cutoff * np.linalg.norm(inverse, axis=0)).astype(np.int64)
    if np.prod(2.0 * most + 1.0) * rows.n_own > _MOST_PREDICTED:
        return None
    every = np.array(list(itertools.product(*(range(-each, each + 1) for each in most))), dtype=np.int64)
    every = every[np.argsort(np.abs(every).sum(axis=1), kind="stable")]
    return every[every.any(axis=1)]


def missing_image(particles: ParticleList, rows: Rows, cutoff: float, shifts: np.ndarray) -> MissingImage | None:
    """Return an image within the cutoff of a contributing particle that the lattice predicts and the list lacks.

    Args:
        particles: The configuration.
        rows: Its rows.
        cutoff: Cutoff of the edges, Å.
        shifts: Translations to look at in terms of the lattice, shape [k, d].
    """
    own = particles.coordinates[particles.own]
    if not len(own) or not len(shifts):
        return None
    low, high = own.min(axis=0) - cutoff, own.max(axis=0) + cutoff
    inverse = np.linalg.pinv(rows.lattice)
    fractions = own @ inverse
    reach = cutoff * np.linalg.norm(inverse, axis=0)
    least, most = fractions.min(axis=0) - reach, fractions.max(axis=0) + reach
    is_present = _present(particles, rows, shifts)
    for shift, present in zip(shifts, is_present, strict=True):
        places = own + shift @ rows.lattice
        is_near = ((places >= low) & (places <= high)).all(axis=1) & ~present
        owners = np.flatnonzero(is_near)
        moved = fractions[owners] + shift
        owners = owners[((moved >= least) & (moved <= most)).all(axis=1)]
        pair = _near_pair(places[owners], own, particles.surely_within(cutoff)) if len(owners) else None
        if pair is not None:
            place = places[owners[pair[0]]]
            distance = float(np.linalg.norm(place - own[pair[1]]))
            owner, near = int(particles.own[owners[pair[0]]]), int(particles.own[pair[1]])
            return MissingImage(owner, place, near, distance, shift)
    return None


def _present(particles: ParticleList, rows: Rows, shifts: np.ndarray) -> np.ndarray:
    """Return which translations of which contributing particles are in the list, bool [k, n_own]."""
    mapping = mapping_of(particles, rows)
    _, number = np.unique(numbers_of(np.concatenate([shifts, mapping.shifts])), return_inverse=True)
    is_there = np.zeros((int(number.max(initial=-1)) + 1, rows.n_own), dtype=bool)
    is_there[number[len(shifts) :], rows.row_of_particle[mapping.images]] = True
    present: np.ndarray = is_there[number[: len(shifts)]]
    return present


def _near_pair(places: np.ndarray, points: np.ndarray, distance: float) -> tuple[int, int] | None:
    """Return a place and a point (their indices) that are nearer than a distance, if there are any.

    Points are sorted into boxes as wide as the distance: each place is compared with those of 27 boxes.
    """
    low = np.minimum(points.min(axis=0), places.min(axis=0)) - distance
    box_of_points, box_of_places = (np.floor((each - low) / distance).astype(np.int64) for each in (points, places))
    sides = np.maximum(box_of_points.max(axis=0), box_of_places.max(axis=0)) + 2
    factors = np.array([sides[1] * sides[2], sides[2], 1])
    numbers = box_of_points @ factors
    order = np.argsort(numbers)
    numbers = numbers[order]
    for offset in itertools.product((-1, 0, 1), repeat=3):
        wanted = (box_of_places + offset) @ factors
        first, end = np.searchsorted(numbers, wanted, "left"), np.searchsorted(numbers, wanted, "right")
        count = end - first
        of_place = np.repeat(np.arange(len(places)), count)
        within = np.arange(len(of_place)) - np.repeat(np.cumsum(count) - count, count)
        of_point = order[np.repeat(first, count) + within]
        near = np.flatnonzero(((places[of_place] - points[of_point]) ** 2).sum(axis=1) < distance**2)
        if len(near):
            return int(of_place[near[0]]), int(of_point[near[0]])
    return None
