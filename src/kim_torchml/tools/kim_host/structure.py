# SPDX-License-Identifier: LGPL-2.1-or-later
"""Atoms in a box, periodic or not, as a simulator's user describes them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Structure:
    """Atoms in a box.

    Attributes:
        species: KIM's name of each atom's species.
        positions: positions of the atoms, shape [n, 3], Å.
        cell: vectors of the box, one a row, Å.
        periodic: whether the box repeats along each of its vectors.
    """

    species: tuple[str, ...]
    positions: Floats
    cell: Floats
    periodic: tuple[bool, bool, bool] = (False, False, False)

    def __len__(self) -> int:
        return len(self.species)

    def moved(self, positions: Floats) -> "Structure":
        """Return the same atoms at other positions."""
        return replace(self, positions=positions)

    def doubled(self, axis: int) -> "Structure":
        """Return the atoms and their images along one vector of the box: twice as many, the originals first."""
        cell = self.cell.copy()
        cell[axis] *= 2.0
        positions = np.concatenate([self.positions, self.positions + self.cell[axis]])
        return replace(self, species=self.species * 2, positions=positions, cell=cell)
