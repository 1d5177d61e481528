# SPDX-License-Identifier: LGPL-2.1-or-later
"""Structures, and the particles that a simulator makes of them, some of which do not contribute."""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

SPECIES = {"Si": 0, "Ge": 1}


@dataclass(frozen=True)
class Configuration:
    """Particles as KIM wants them.

    Attributes:
        coordinates: Cartesian coordinates, shape [n, 3], Å.
        codes: species codes, shape [n], int32.
        contributing: flags, shape [n], int32, 1 = contributing.
    """

    coordinates: np.ndarray
    codes: np.ndarray
    contributing: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def reordered(self, order: np.ndarray) -> "Configuration":
        """Return the configuration whose particle i is this one's particle order[i]."""
        return Configuration(self.coordinates[order].copy(), self.codes[order], self.contributing[order])

    def moved(self, particle: int, axis: int, by: float) -> "Configuration":
        """Return a copy with one coordinate of one particle changed by `by`, Å."""
        coordinates = self.coordinates.copy()
        coordinates[particle, axis] += by
        return replace(self, coordinates=coordinates)

    def write(self, path) -> None:
        """Write the configuration to a file for the C++ simulator."""
        rows = zip(self.codes, self.contributing, self.coordinates.tolist(), strict=True)
        lines = [f"{code} {flag} {x!r} {y!r} {z!r}\n" for code, flag, (x, y, z) in rows]
        path.write_text(f"{len(self)}\n{''.join(lines)}")


def crystal(repeats: int = 2, rattle: float = 0.15, seed: int = 1) -> Atoms:
    """Return a rattled diamond crystal in which every third atom is Ge, in a skewed cell."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (repeats, repeats, repeats)
    atoms.symbols[::3] = "Ge"
    atoms.rattle(rattle, seed=seed)
    shear = np.array([[1.0, 0.0, 0.0], [0.05, 1.0, 0.0], [0.02, -0.03, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def cluster(seed: int = 1) -> Atoms:
    """Return 64 atoms with vacuum all around."""
    atoms = crystal(seed=seed)
    atoms.pbc = False
    return atoms


def of_atoms(atoms: Atoms, reach: float = 0.0, by_translation: bool = False) -> Configuration:
    """Return the atoms as contributing particles, followed by their images within `reach` (Å).

    Images come owner by owner, or one translation after the other, as simulators list them.
    """
    codes = np.array([SPECIES[symbol] for symbol in atoms.symbols], dtype=np.int32)
    contributing = np.ones(len(atoms), dtype=np.int32)
    if not atoms.pbc.any():
        return Configuration(atoms.positions.copy(), codes, contributing)
    _, other, shift = neighbor_list("ijS", atoms, reach)
    images = np.unique(np.column_stack([other, shift])[np.any(shift != 0, axis=1)], axis=0)
    if by_translation:
        images = images[np.lexsort(images.T)]
    positions = atoms.positions[images[:, 0]] + images[:, 1:] @ atoms.cell.array
    return Configuration(
        np.concatenate([atoms.positions, positions]),
        np.concatenate([codes, codes[images[:, 0]]]),
        np.concatenate([contributing, np.zeros(len(images), dtype=np.int32)]),
    )


def mixed(n: int = 40, seed: int = 1) -> Configuration:
    """Return n particles from the middle of a crystal; chance decides which of them contribute."""
    random = np.random.default_rng(seed)
    atoms = crystal(3, seed=seed)
    centre = atoms.cell.array.sum(axis=0) / 2
    nearest = np.argsort(np.linalg.norm(atoms.positions - centre, axis=1))[:n]
    particles = of_atoms(Atoms(atoms.symbols[nearest], atoms.positions[nearest]))
    return replace(particles, contributing=random.integers(0, 2, n).astype(np.int32))
