# SPDX-License-Identifier: LGPL-2.1-or-later
"""Distances between atoms: a minimum of the model's own energy, so that atoms interact and nothing overflows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.verification.crystals import EIGHT_ATOMS, dimer, perfect_crystal

# Distance at which the search ends, relative to the sum of the covalent radii: a nearer minimum is an artefact.
NEAREST_OF_DIMER, NEAREST_OF_CRYSTAL = 0.4, 0.55
# Steps between the distances that are tried, Å; crystals take longer, so there are fewer.
SPACING_OF_DIMER, SPACING_OF_CRYSTAL = 0.05, 0.1
# Where the energy per atom is higher by this than that of atoms far apart, eV, is the wall: the search ends there.
WALL = 2.0
# A minimum counts only if the energy is higher at this many distances on its near side.
RISING = 2
# Wells that are shallower than this, relative to the greatest change of the energy, are rounding.
SHALLOW = 1e-4
# Of several minima, the outermost is taken whose depth is at least this part of the deepest one's: metals have shallow
# minima far out, trained models deep ones at distances where they were never trained.
DEEP = 0.5
# If there is no minimum, atoms are put where the energy has changed by this, eV per atom.
INTERACTING = 0.1
# If the atoms of a periodic crystal had more neighbours than this, a piece of 8 atoms is taken instead.
MOST_NEIGHBOURS = 1000

Energy = Callable[[Structure], float]


def find_bond(energy: Energy, first: str, second: str, cutoff: float) -> float:
    """Return the distance of least energy of two atoms, Å; `_lowest` says what it returns if there is none.

    Args:
        energy: function that returns the energy of a structure, eV; it may raise ModelError.
        first: species of one atom.
        second: species of the other atom.
        cutoff: greatest cutoff of the model, Å.
    """
    radii = _covalent(first, second)
    distances = np.arange(0.99 * cutoff, NEAREST_OF_DIMER * radii, -SPACING_OF_DIMER)
    return _lowest(lambda distance: energy(dimer(first, second, distance)) / 2.0, distances, min(radii, 0.85 * cutoff))


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
    return _lowest(of_crystal, distances, min(radii, 0.85 * cutoff))


def _neighbours(lattice: str, nearest: float, cutoff: float) -> float:
    """Return how many neighbours an atom has within the cutoff."""
    cell = perfect_crystal(lattice, (1, 1, 1), nearest, ["Si"])
    return 4.0 / 3.0 * np.pi * cutoff**3 * len(cell) / float(np.linalg.det(cell.cell))


def _covalent(first: str, second: str) -> float:
    """Return the sum of the covalent radii, Å; species of KIM that are no elements count 0.2 Å each."""
    return float(sum(covalent_radii[atomic_numbers.get(species, 0)] for species in (first, second)))


def _lowest(energy: Callable[[float], float], distances: np.ndarray, otherwise: float) -> float:
    """Return a distance at which the energy per atom has a minimum or, if it has none, at which atoms interact.

    A model that only repels has no minimum, nor has one that lets atoms collapse.

    Args:
        energy: function that returns the energy per atom at a distance, eV; it may raise ModelError.
        distances: distances to try, falling because dense structures take longest, Å.
        otherwise: distance to return if the energy does not depend on the distance, or is never known, Å.
    """
    energies = _down_to_the_wall(energy, distances)
    known = np.isfinite(energies)
    if not known.any():
        return otherwise
    # The greatest distance that the model computes stands for atoms far apart.
    changes = energies - energies[known][0]
    greatest = float(np.abs(changes[known]).max())
    wells = [index for index in range(1, len(changes) - RISING) if _is_well(changes, index, min(greatest, WALL))]
    if wells:
        deepest = min(float(changes[index]) for index in wells)
        return _vertex(distances, changes, next(index for index in wells if changes[index] <= DEEP * deepest))
    if greatest == 0.0:
        return otherwise
    return float(distances[int(np.argmax(known & (np.abs(changes) >= min(INTERACTING, greatest))))])


def _down_to_the_wall(energy: Callable[[float], float], distances: np.ndarray) -> np.ndarray:
    """Return the energies as far as the wall; they are infinite where the model fails."""
    energies: list[float] = []
    for distance in distances:
        try:
            energies.append(energy(float(distance)))
        except ModelError:
            # The structure is denser than the model's tables go, or the model does not combine these species.
            energies.append(np.inf)
        first = next((value for value in energies if np.isfinite(value)), np.inf)
        if min(energies[-RISING:]) > first + WALL:
            break
    return np.array(energies)


def _is_well(changes: np.ndarray, index: int, scale: float) -> bool:
    """Return whether the energy is lower than at the distances on both sides, and than that of atoms far apart."""
    here = changes[index]
    nearer = changes[index + 1 : index + 1 + RISING]
    return bool(here < changes[index - 1] and (here < nearer).all() and here < -SHALLOW * scale)


def _vertex(distances: np.ndarray, energies: np.ndarray, index: int) -> float:
    """Return the vertex of the parabola through a minimum and the two points beside it."""
    farther, here, nearer = energies[index - 1 : index + 2]
    if not np.isfinite([farther, here, nearer]).all():
        return float(distances[index])
    offset = 0.5 * (farther - nearer) / (farther - 2.0 * here + nearer)
    return float(distances[index] + offset * (distances[index + 1] - distances[index]))
