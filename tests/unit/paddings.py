# SPDX-License-Identifier: LGPL-2.1-or-later
"""Periodic configurations as LAMMPS and ASE hand them to KIM, with what they do not tell: owners and lattice.

LAMMPS: `CommBrick::setup` and `CommBrick::borders` of src/comm_brick.cpp on one rank, and `Atom::sort`. ASE: the
function `create_paddings` of kimpy, as ASE's KIM calculator calls it.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

from kim_torchml.inputs.folding.rows import ParticleList, Rows

# What kimpy adds to the smallest and the largest fractional coordinate.
_KIMPY_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Padded:
    """A list of particles with known owners.

    Attributes:
        coordinates: Coordinates, shape [n, 3], Å.
        species_codes: Species codes, shape [n], int32.
        contributing: Flags of the contributing particles, shape [n].
        owner: Index of each particle's owner, shape [n]; contributing particles own themselves.
        shifts: Whole translations from the owner to the particle, shape [n, d].
        lattice: Translations of the periodic directions, shape [d, 3], Å.
        is_ordered: Whether the images of a translation lie together, their owners ascending.
    """

    coordinates: np.ndarray
    species_codes: np.ndarray
    contributing: np.ndarray
    owner: np.ndarray
    shifts: np.ndarray
    lattice: np.ndarray
    is_ordered: bool = True

    def __len__(self):
        return len(self.owner)

    @property
    def own(self):
        return np.flatnonzero(self.contributing)

    @property
    def images(self):
        return np.flatnonzero(~self.contributing)

    @property
    def row_of_particle(self):
        """Row of each particle's owner: contributing particles have theirs in the order of the list."""
        return (np.cumsum(self.contributing) - 1)[self.owner]

    def particles(self):
        """Return what the driver sees."""
        return ParticleList(self.coordinates.copy(), self.species_codes.copy(), self.contributing.copy())

    def rows(self):
        """Return what the driver should find."""
        return Rows(len(self.own), self.row_of_particle, self.lattice.copy(), self.shifts.copy())

    def reached(self, cutoff):
        """Return the mask of contributing particles and of those within the cutoff of one."""
        tree = cKDTree(self.coordinates[self.own])
        distance, _ = tree.query(self.coordinates, distance_upper_bound=np.nextafter(cutoff, np.inf))
        return np.isfinite(distance) | self.contributing

    def arranged(self, order, is_ordered):
        """Return the same particles in another order: the k-th is the one that was at `order[k]`."""
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        return replace(
            self,
            coordinates=self.coordinates[order],
            species_codes=self.species_codes[order],
            contributing=self.contributing[order],
            owner=place[self.owner[order]],
            shifts=self.shifts[order],
            is_ordered=is_ordered,
        )

    def interleaved(self, random):
        """Return the particles with contributing ones anywhere; the order among these and among images stays."""
        is_own = random.permutation(self.contributing)
        order = np.empty(len(self), dtype=np.int64)
        order[is_own], order[~is_own] = self.own, self.images
        return self.arranged(order, is_ordered=self.is_ordered)

    def shuffled(self, random):
        return self.arranged(random.permutation(len(self)), is_ordered=False)

    def noisy(self, relative, random):
        """Return the particles with coordinates off by up to a part of the largest one, as other units make them."""
        reach = relative * np.abs(self.coordinates).max()
        return replace(self, coordinates=self.coordinates + random.uniform(-reach, reach, self.coordinates.shape))

    def moved(self, displacements, lattice=None):
        """Return the same list a few steps later.

        Args:
            displacements: Displacements of the contributing particles, in the order of the list, shape [n_own, 3], Å.
            lattice: Translations now, shape [d, 3]; as before if omitted.
        """
        lattice = self.lattice if lattice is None else lattice
        coordinates = self.coordinates.copy()
        coordinates[self.own] += displacements
        return replace(self, coordinates=coordinates[self.owner] + self.shifts @ lattice, lattice=lattice)

    def strained(self, strain):
        """Return the same list after a homogeneous strain about the origin, shape [3, 3], as a barostat applies it.

        The box of LAMMPS stays lower triangular under a strain that is.
        """
        lattice = self.lattice @ (np.eye(3) + strain)
        return self.moved(self.coordinates[self.own] @ strain, lattice)


def _padded(coordinates, species_codes, owner, shifts, cell, periodic):
    periodic = np.array(periodic, dtype=bool)
    n_own = int((owner == np.arange(len(owner))).sum())
    return Padded(
        coordinates,
        np.asarray(species_codes, dtype=np.int32)[owner],
        np.arange(len(owner)) < n_own,
        owner,
        shifts[:, periodic],
        cell[periodic],
    )


def wrapped(coordinates, cell, periodic, origin=0.0):
    """Return coordinates inside the cell where a direction is periodic, as LAMMPS remaps them."""
    fractional = (coordinates - origin) @ np.linalg.inv(cell)
    whole = np.where(periodic, np.floor(fractional), 0.0)
    return coordinates - whole @ cell


def lammps(coordinates, species_codes, cell, reach, periodic=(True, True, True), origin=0.0):
    """Return the particles after a re-neighbouring on one rank, in the order of the swaps.

    A tilted cell is swapped in fractional coordinates ("lamda"), in which the ghost cutoff differs by direction.

    Args:
        coordinates: Coordinates, shape [n, 3], Å; periodic directions are remapped into the box.
        species_codes: Species codes, shape [n].
        cell: Edge vectors, lower triangular, shape [3, 3], Å.
        reach: Ghost cutoff: influence distance and skin, Å.
        periodic: Flags of the directions: boundary p, or f.
        origin: Lower corner of the box, a number or shape [3], Å.
    """
    assert np.allclose(cell, np.tril(cell)), "LAMMPS takes lower triangular cells only"
    origin = np.broadcast_to(np.asarray(origin, dtype=float), 3)
    points = wrapped(coordinates, cell, periodic, origin)
    is_triclinic = bool(np.abs(cell - np.diag(np.diag(cell))).max() > 0.0)
    inverse = np.linalg.inv(cell)
    if is_triclinic:
        points, lower, edges = (points - origin) @ inverse, np.zeros(3), np.ones(3)
        cutoffs = reach * np.linalg.norm(inverse, axis=0)
    else:
        lower, edges, cutoffs = origin, np.diag(cell), np.full(3, reach)
    owner, shifts = np.arange(len(points)), np.zeros((len(points), 3), dtype=np.int64)
    for d in np.flatnonzero(periodic):
        last = 0
        for swap in range(2 * (int(cutoffs[d] / edges[d]) + 1)):
            if swap % 2 == 0:
                first, last = last, len(points)
            places = first + _in_slab(points[first:last, d], swap, lower[d], edges[d], cutoffs[d])
            side, unit = (1, -1)[swap % 2], np.eye(3, dtype=np.int64)[d]
            points = np.concatenate([points, points[places] + side * edges[d] * unit])
            owner = np.concatenate([owner, owner[places]])
            shifts = np.concatenate([shifts, shifts[places] + side * unit])
    if is_triclinic:
        points = points @ cell + origin
    return _padded(points, species_codes, owner, shifts, cell, periodic)


def _in_slab(x, swap, lower, edge, cutoff):
    """Return the places of the particles that a swap sends; the first two swaps of a direction have no inner bound."""
    middle = lower + 0.5 * edge
    if swap % 2 == 0:
        low, high = (-np.inf if swap < 2 else middle), lower + cutoff
    else:
        low, high = lower + edge - cutoff, (np.inf if swap < 2 else middle)
    return np.flatnonzero((x >= low) & (x <= high))


def sorted_by_bins(coordinates, cell, size):
    """Return the order in which LAMMPS keeps its particles: by bins of half a cutoff, x fastest."""
    extent = np.abs(cell).sum(axis=0)
    bins = np.maximum((extent / size).astype(int), 1)
    low = coordinates.min(axis=0)
    place = np.clip(((coordinates - low) / (extent / bins)).astype(int), 0, bins - 1)
    return np.argsort(place[:, 2] * bins[1] * bins[0] + place[:, 1] * bins[0] + place[:, 0], kind="stable")


def ase(coordinates, species_codes, cell, reach, periodic=(True, True, True)):
    """Return the particles as kimpy pads them: image by image, from the most negative one on.

    Particles may lie outside the cell; the outermost images are cut by the smallest and the largest fractional
    coordinate.

    Args:
        coordinates: Coordinates, shape [n, 3], Å.
        species_codes: Species codes, shape [n].
        cell: Edge vectors, shape [3, 3], Å.
        reach: Influence distance, and skin if there is one, Å.
        periodic: Flags of the directions.
    """
    inverse = np.linalg.inv(cell)
    fractional = coordinates @ inverse
    low, high = fractional.min(axis=0) - _KIMPY_TOLERANCE, fractional.max(axis=0) + _KIMPY_TOLERANCE
    # The columns of the inverse are one over the distances between opposite faces.
    ratio = reach * np.linalg.norm(inverse, axis=0)
    size = np.ceil(ratio).astype(int)
    left, right = fractional - low >= size - ratio, high - fractional >= size - ratio
    points, owner, shifts = [coordinates], [np.arange(len(coordinates))], [np.zeros_like(coordinates, dtype=np.int64)]
    copies = [range(-c, c + 1) if wraps else (0,) for c, wraps in zip(size, periodic, strict=True)]
    for image in product(*copies):
        if not any(image):
            continue
        kept = (left | (np.array(image) != -size)) & (right | (np.array(image) != size))
        places = np.flatnonzero(kept.all(axis=1))
        points.append((fractional[places] + image) @ cell)
        owner.append(places)
        shifts.append(np.tile(image, (len(places), 1)))
    return _padded(np.concatenate(points), species_codes, np.concatenate(owner), np.concatenate(shifts), cell, periodic)
