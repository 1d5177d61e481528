# SPDX-License-Identifier: LGPL-2.1-or-later
"""Structures that a converted model and its package's own calculator compute; nothing but ASE and numpy is needed."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

_SI, _NACL = 5.431, 5.64
# Molecules of water, and the volume of one in the liquid, Å³.
_MOLECULES = 32
_VOLUME_OF_MOLECULE = 29.9


def _silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=_SI, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=1)
    return atoms


def _salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=_NACL, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=2)
    return atoms


def water(molecules: int = _MOLECULES) -> Atoms:
    """Return molecules on a lattice, turned at random, at the density of the liquid."""
    random = np.random.default_rng(3)
    times = int(np.ceil(molecules ** (1 / 3)))
    length = (molecules * _VOLUME_OF_MOLECULE) ** (1 / 3)
    places = np.stack(np.meshgrid(*[np.arange(times)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms(cell=np.diag([length] * 3), pbc=True)
    for place in places[random.permutation(len(places))[:molecules]]:
        each = molecule("H2O")
        each.euler_rotate(*random.uniform(0, 360, 3))
        each.translate((place + 0.5) * length / times - each.get_center_of_mass())
        atoms += each
    atoms.wrap()
    return atoms


def _in_vacuum(atoms: Atoms, vacuum: float = 8.0) -> Atoms:
    atoms.center(vacuum=vacuum)
    atoms.pbc = False
    return atoms


def _primitive() -> Atoms:
    atoms = bulk("Si", "diamond", a=_SI)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    return atoms


def _slab() -> Atoms:
    atoms = _silicon()
    atoms.positions[:, 2] -= atoms.positions[:, 2].min() - 1.0
    atoms.cell[2, 2] += 14.0
    atoms.pbc = (True, True, False)
    return atoms


def _tilted() -> Atoms:
    atoms = _silicon()
    shear = np.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.1, -0.15, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


# All cells are lower triangular, as LAMMPS has them.
STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "si64": _silicon,
    "nacl64": _salt,
    "water96": water,
    "atom": lambda: _in_vacuum(Atoms("Si")),
    "dimer": lambda: _in_vacuum(Atoms("NaCl", positions=[[0, 0, 0], [1.3, 1.4, 1.5]])),
    "primitive": _primitive,
    "slab": _slab,
    "tilted": _tilted,
    "cluster": lambda: _in_vacuum(_silicon()),
}
SPECIES = ("H", "O", "Na", "Si", "Cl")
