# SPDX-License-Identifier: LGPL-2.1-or-later
"""Crystals, defects, molecules and boxes for the tests of folding."""

from dataclasses import dataclass, replace

import numpy as np

# Fractional coordinates of the atoms of a cubic cell, their species, and the cell's edge in Å.
_FACES = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
_CRYSTALS = {
    "simple cubic": ([(0, 0, 0)], [0], 3.3),
    "bcc": ([(0, 0, 0), (0.5, 0.5, 0.5)], [0, 0], 2.87),
    "fcc": (_FACES, [0] * 4, 3.61),
    "diamond": (_FACES + [tuple(np.add(each, 0.25)) for each in _FACES], [0] * 8, 5.431),
    "CsCl": ([(0, 0, 0), (0.5, 0.5, 0.5)], [0, 1], 4.12),
    "NaCl": (_FACES + [tuple(np.add(each, (0.5, 0, 0))) for each in _FACES], [0] * 4 + [1] * 4, 5.64),
}
# One water molecule, Å.
_WATER = np.array([[0.0, 0.0, 0.0], [0.757, 0.586, 0.0], [-0.757, 0.586, 0.0]])
_WATER_SPECIES = np.array([0, 1, 1])


@dataclass(frozen=True)
class Structure:
    """Atoms in a box.

    Attributes:
        coordinates: Coordinates, shape [n, 3], Å.
        species_codes: Species codes, shape [n].
        cell: Edge vectors, lower triangular, shape [3, 3], Å.
        periodic: Flags of the periodic directions.
        origin: Lower corner of the box, Å.
        is_perfect: Whether translations that are not the box's map most of the atoms near the boundary onto atoms, to
            the last digit.
    """

    coordinates: np.ndarray
    species_codes: np.ndarray
    cell: np.ndarray
    periodic: tuple[bool, bool, bool] = (True, True, True)
    origin: float = 0.0
    is_perfect: bool = True

    def __len__(self):
        return len(self.species_codes)

    def displaced(self, amount, seed=1):
        """Displace each atom by a random vector of this standard deviation."""
        noise = np.random.default_rng(seed).normal(0.0, amount, self.coordinates.shape)
        return replace(self, coordinates=self.coordinates + noise, is_perfect=False)

    def bounded(self, *periodic):
        """Make some directions not periodic."""
        return replace(self, periodic=periodic)

    def far(self, distance=5000.0):
        """Move the box and the atoms away from the origin of the coordinates."""
        return replace(self, coordinates=self.coordinates + distance, origin=self.origin + distance)

    def deepest(self):
        """Return the index of the atom that is deepest in the box."""
        return int(np.linalg.norm(self.coordinates - self.origin - self.cell.sum(axis=0) / 2, axis=1).argmin())

    def with_vacancy(self):
        kept = np.arange(len(self)) != self.deepest()
        return replace(self, coordinates=self.coordinates[kept], species_codes=self.species_codes[kept])

    def with_foreign(self):
        """Give the deepest atom a species of its own."""
        codes = self.species_codes.copy()
        codes[self.deepest()] = codes.max() + 1
        return replace(self, species_codes=codes)

    def with_random_species(self, n_species=3, seed=2):
        codes = np.random.default_rng(seed).integers(0, n_species, len(self))
        return replace(self, species_codes=codes, is_perfect=False)

    def sheared(self, xy, xz, yz):
        """Deform box and atoms alike; the tilts are parts of the edges that they point along."""
        shear = np.eye(3)
        shear[1, 0], shear[2, 0], shear[2, 1] = xy, xz, yz
        cell = np.diag(np.diag(self.cell))
        return replace(self, coordinates=self.coordinates @ shear, cell=cell @ shear)

    def sheared_box(self, random):
        """Shift one edge of the box along the others by a vector between two atoms: a perfect crystal stays one."""
        cell, points = self.cell.copy(), self.coordinates
        along = int(random.integers(1, 3))
        vectors = points - points[random.integers(len(points))]
        # The box stays lower triangular, as LAMMPS wants it.
        vectors = vectors[(np.abs(vectors[:, along:]) < 1e-6).all(axis=1) & (np.abs(vectors) > 0.1).any(axis=1)]
        if len(vectors):
            cell[along] += random.choice(vectors)
        return replace(self, cell=cell)

    def tilted(self, xy, xz, yz):
        """Tilt the box and leave the atoms: another lattice; the tilts are parts of the edges they point along."""
        cell = self.cell.copy()
        cell[1, 0], cell[2, 0], cell[2, 1] = xy * cell[0, 0], xz * cell[0, 0], yz * cell[1, 1]
        return replace(self, cell=cell)


def crystal(name, *repeats):
    """Return a perfect crystal of so many cubic cells along x, y, z; its atoms cell by cell, z fastest."""
    basis, codes, edge = _CRYSTALS[name]
    corners = np.stack(np.meshgrid(*(np.arange(r) for r in repeats), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    coordinates = ((corners + np.array(basis)) * edge).reshape(-1, 3)
    return Structure(coordinates, np.tile(codes, len(corners)), edge * np.diag(np.array(repeats, dtype=float)))


def primitive(name):
    """Return the primitive cell of fcc (one atom) or diamond (two), as LAMMPS turns it."""
    edge = _CRYSTALS[name][2]
    rows = edge / 2 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    upper = np.linalg.cholesky(rows @ rows.T)
    fractions = np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]])[: 1 if name == "fcc" else 2]
    return Structure(fractions @ upper, np.zeros(len(fractions), dtype=int), upper)


def chains(length, across, spacing=6.0):
    """Return parallel chains along x, one atom every 2.5 Å, farther apart than many a cutoff; chain by chain.

    Args:
        length: Atoms of each chain.
        across: Numbers of chains along y and z.
        spacing: Distance between chains, Å.
    """
    places = np.stack(np.meshgrid(*map(np.arange, (*across, length)), indexing="ij"), axis=-1).reshape(-1, 3)
    edges = np.array([2.5, spacing, spacing])
    coordinates = places[:, [2, 0, 1]] * edges
    return Structure(coordinates, np.zeros(len(places), dtype=int), np.diag(edges * [length, *across]))


def layers(*repeats):
    """Return layers of carbon as in graphite, 3.35 Å apart: so many cells of eight atoms along x, y, z."""
    bond = 1.42
    edges = np.array([np.sqrt(3.0) * bond, 3.0 * bond, 6.7])
    layer = np.array([[0.0, 0.0, 0.0], [0.0, 1 / 3, 0.0], [0.5, 0.5, 0.0], [0.5, 5 / 6, 0.0]])
    basis = np.concatenate([layer, layer + np.array([0.0, 1 / 3, 0.5])])
    corners = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    coordinates = ((corners + basis) * edges).reshape(-1, 3)
    return Structure(coordinates, np.zeros(len(coordinates), dtype=int), np.diag(edges * repeats))


def water(repeats, displaced=0.0, turned=False, seed=3):
    """Return water molecules that are alike to the last digit, on a cubic lattice.

    Args:
        repeats: Molecules along each edge.
        displaced: Standard deviation of the displacements of whole molecules, Å.
        turned: Whether each molecule is turned at random; else all are parallel.
        seed: Seed of the random numbers.
    """
    random, spacing = np.random.default_rng(seed), 3.6
    corners = np.stack(np.meshgrid(*(np.arange(repeats),) * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = spacing * (corners + 0.5) + random.normal(0.0, 1.0, corners.shape) * displaced
    turns = np.linalg.qr(random.normal(size=(len(corners), 3, 3)))[0] if turned else np.eye(3)[None]
    coordinates = corners[:, None, :] + np.einsum("ai,mij->maj", _WATER, np.broadcast_to(turns, (len(corners), 3, 3)))
    return Structure(
        coordinates.reshape(-1, 3),
        np.tile(_WATER_SPECIES, len(corners)),
        spacing * repeats * np.eye(3),
        is_perfect=not turned and displaced == 0.0,
    )
