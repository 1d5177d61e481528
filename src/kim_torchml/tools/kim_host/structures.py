# SPDX-License-Identifier: LGPL-2.1-or-later
"""Structures that the checks compute: pieces of simple crystals, rattled, atoms as far apart as in the model's own.

OpenKIM's checks use the same lattices (fcc, bcc, diamond), mostly with fixed lattice constants; here they are those of
the model's own crystals (verification/lengths.py). Species are KIM's, some of which (user01, electron) are no elements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Fractional coordinates of the atoms in the cubic cell, and lattice constant over nearest distance.
_FACES = [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)]
_BASES = {
    "fcc": (_FACES, np.sqrt(2.0)),
    "bcc": ([(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)], 2.0 / np.sqrt(3.0)),
    "diamond": (_FACES + [(x + 0.25, y + 0.25, z + 0.25) for x, y, z in _FACES], 4.0 / np.sqrt(3.0)),
}
LATTICES = tuple(_BASES)
# Cubic cells along each axis that make 8 atoms.
EIGHT_ATOMS = {"fcc": (2, 1, 1), "bcc": (2, 2, 1), "diamond": (1, 1, 1)}
# Greatest displacement of an atom along each axis, over the nearest distance.
RATTLE = 0.1


@dataclass(frozen=True)
class Structure:
    """Atoms in a box.

    Attributes:
        species: KIM's name of each atom's species.
        positions: Shape [n, 3], Å.
        cell: The box's vectors, one a row, Å.
        periodic: Whether the box repeats along each of them.
    """

    species: tuple[str, ...]
    positions: Floats
    cell: Floats
    periodic: tuple[bool, bool, bool] = (False, False, False)

    def __len__(self) -> int:
        return len(self.species)

    def moved(self, positions: Floats) -> "Structure":
        """Return the same atoms elsewhere."""
        return replace(self, positions=positions)

    def doubled(self, axis: int) -> "Structure":
        """Return the atoms and their images along one vector of the box: twice as many, the originals first."""
        cell = self.cell.copy()
        cell[axis] *= 2.0
        positions = np.concatenate([self.positions, self.positions + self.cell[axis]])
        return replace(self, species=self.species * 2, positions=positions, cell=cell)


def crystal(
    lattice: str,
    repeats: tuple[int, int, int],
    nearest: float,
    species: Sequence[str],
    random: np.random.Generator,
    rattle: float = RATTLE,
) -> Structure:
    """Return cubic cells of a crystal, rattled, without periodicity.

    Args:
        lattice: One of LATTICES.
        repeats: Number of cells along x, y and z.
        nearest: Distance of nearest neighbours before the rattle, Å.
        species: What to draw each atom from; each occurs, if there are as many atoms.
        random: Source of all chance.
        rattle: Greatest displacement along each axis, over the nearest distance.
    """
    positions, cell = _sites(lattice, repeats, nearest)
    positions += random.uniform(-rattle, rattle, positions.shape) * nearest
    n = len(positions)
    chosen = [*species, *(species[index] for index in random.integers(len(species), size=n))]
    # Of more species than atoms, some; otherwise each at least once.
    kept = random.permutation(n if len(species) <= n else len(species))[:n]
    return Structure(tuple(chosen[index] for index in kept), positions, cell)


def perfect_crystal(lattice: str, repeats: tuple[int, int, int], nearest: float, species: Sequence[str]) -> Structure:
    """Return a periodic crystal with the species in turn on its sites.

    Args:
        lattice: One of LATTICES.
        repeats: Number of cells along x, y and z.
        nearest: Distance of nearest neighbours, Å.
        species: Of more than there are atoms, the first ones.
    """
    positions, cell = _sites(lattice, repeats, nearest)
    names = tuple(species[index % len(species)] for index in range(len(positions)))
    return Structure(names, positions, cell, (True, True, True))


def _sites(lattice: str, repeats: tuple[int, int, int], nearest: float) -> tuple[Floats, Floats]:
    """Return the sites [n, 3] and the box [3, 3] of cubic cells, Å."""
    basis, ratio = _BASES[lattice]
    constant = float(ratio) * nearest
    cells = np.array([(i, j, k) for i in range(repeats[0]) for j in range(repeats[1]) for k in range(repeats[2])])
    positions = (cells[:, None, :] + np.array(basis)[None, :, :]).reshape(-1, 3) * constant
    return positions, np.diag(np.array(repeats) * constant)


def dimer(first: str, second: str, distance: float) -> Structure:
    """Return two atoms on the x axis, a distance (Å) apart."""
    return Structure((first, second), np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]), np.eye(3))
