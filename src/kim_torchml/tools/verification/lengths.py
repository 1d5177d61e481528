# SPDX-License-Identifier: LGPL-2.1-or-later
"""Distances between atoms: a minimum of the model's own energy, so that atoms interact and nothing overflows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.verification.crystals import EIGHT_ATOMS, dimer, perfect_crystal
from kim_torchml.tools.verification.wells import lowest

# Distance at which the search ends, relative to the sum of the covalent radii: a nearer minimum is an artefact.
NEAREST_OF_DIMER, NEAREST_OF_CRYSTAL = 0.4, 0.55
# Steps between the distances that are tried, Å; crystals take longer, so there are fewer.
SPACING_OF_DIMER, SPACING_OF_CRYSTAL = 0.05, 0.1
# If the atoms of a periodic crystal had more neighbours than this, a piece of 8 atoms is taken instead.
MOST_NEIGHBOURS = 1000

Energy = Callable[[Structure], float]


def find_bond(energy: Energy, first: str, second: str, cutoff: float) -> float:
    """Return the distance of least energy of two atoms, Å; `wells.lowest` says what it returns if there is none.

    Args:
        energy: function that returns the energy of a structure, eV; it may raise ModelError.
        first: species of one atom.
        second: species of the other atom.
        cutoff: greatest cutoff of the model, Å.
    """
    radii = _covalent(first, second)
    distances = np.arange(0.99 * cutoff, NEAREST_OF_DIMER * radii, -SPACING_OF_DIMER)
    otherwise = min(radii, 0.85 * cutoff)
    return lowest(
        lambda distance: energy(dimer(first, second, distance)) / 2.0, distances, otherwise, failure=ModelError
    )


def find_nearest(energy: Energy, lattice: str, species: Sequence[str], cutoff: float) -> float:
    """Return the distance of nearest neighbours at which a crystal has its least energy, Å; see find_bond.

    As in OpenKIM's check of forces, this is the equilibrium crystal. The bond length of a dimer would not do: with it,
    metals are much denser than their models allow.
    """
    names = sorted(set(species))
    radii = float(np.mean([_covalent(name, name) for name in names]))
    end = NEAREST_OF_CRYSTAL * radii
    periodic = _neighbours(lattice, end, cutoff) <= MOST_NEIGHBOURS
    repeats = (1, 1, 1) if periodic and len(names) == 1 else EIGHT_ATOMS[lattice]

    def of_crystal(distance: float) -> float:
        crystal = perfect_crystal(lattice, repeats, distance, names)
        return energy(crystal if periodic else replace(crystal, periodic=(False, False, False))) / len(crystal)

    distances = np.arange(0.99 * cutoff, end, -SPACING_OF_CRYSTAL)
    return lowest(of_crystal, distances, min(radii, 0.85 * cutoff), ModelError)


def _neighbours(lattice: str, nearest: float, cutoff: float) -> float:
    """Return how many neighbours an atom has within the cutoff."""
    cell = perfect_crystal(lattice, (1, 1, 1), nearest, ["Si"])
    return 4.0 / 3.0 * np.pi * cutoff**3 * len(cell) / float(np.linalg.det(cell.cell))


def _covalent(first: str, second: str) -> float:
    """Return the sum of the covalent radii, Å; species of KIM that are no elements count 0.2 Å each."""
    return float(sum(covalent_radii[atomic_numbers.get(species, 0)] for species in (first, second)))
