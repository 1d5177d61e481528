# SPDX-License-Identifier: LGPL-2.1-or-later
"""Structures that SevenNet-0 computes in this example: two crystals with displaced atoms, and water."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

# Å
SILICON, SALT = 5.431, 5.64
# Å³ of a molecule of liquid water
_VOLUME_OF_MOLECULE = 29.9
_DISPLACEMENT = 0.1


def silicon() -> Atoms:
    """Return 64 atoms of diamond silicon."""
    return _displaced(bulk("Si", "diamond", a=SILICON, cubic=True) * (2, 2, 2), seed=1)


def salt() -> Atoms:
    """Return 64 atoms of rock salt."""
    return _displaced(bulk("NaCl", "rocksalt", a=SALT, cubic=True) * (2, 2, 2), seed=2)


def water() -> Atoms:
    """Return 32 molecules, turned at random, at the sites of a face-centred lattice and at the liquid's density."""
    random = np.random.default_rng(3)
    sites = bulk("O", "fcc", a=(4 * _VOLUME_OF_MOLECULE) ** (1 / 3), cubic=True) * (2, 2, 2)
    atoms = Atoms(cell=sites.cell, pbc=True)
    for site in sites.positions:
        each = molecule("H2O")
        each.euler_rotate(*random.uniform(0.0, 360.0, 3))
        each.translate(site - each.get_center_of_mass())
        atoms += each
    atoms.wrap()
    return atoms


def crystal(lattice_constant: float) -> Atoms:
    """Return the perfect cubic cell of silicon, 8 atoms, with a lattice constant in Å."""
    return bulk("Si", "diamond", a=lattice_constant, cubic=True)


def _displaced(atoms: Atoms, seed: int) -> Atoms:
    atoms.rattle(_DISPLACEMENT, seed=seed)
    return atoms


STRUCTURES: dict[str, Callable[[], Atoms]] = {"Si": silicon, "NaCl": salt, "water": water}
