# SPDX-License-Identifier: LGPL-2.1-or-later
"""How far apart atoms are put: where the model's own energy is least, so that they interact and nothing overflows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from kim_torchml.verification.kim_model import ModelError
from kim_torchml.verification.structures import Structure, crystal, dimer

# A minimum outside this range, over the sum of the covalent radii, is taken for an artefact of the model.
PLAUSIBLE = (0.7, 1.8)
# Where there is none, that sum is used, brought into this range over the cutoff.
SENSIBLE = (0.4, 0.85)
# A minimum is one if the energy is higher at this many distances on its near side.
RISING = 2

Energy = Callable[[Structure], float]


def find_bond(energy: Energy, first: str, second: str, cutoff: float) -> float:
    """Return the distance of least energy of two atoms, Å; see the constants above where there is none.

    Args:
        energy: Of a structure, eV; may raise ModelError.
        first: A species.
        second: A species.
        cutoff: Å.
    """
    distances = np.linspace(0.3, 0.98, 60) * cutoff
    return _lowest(lambda distance: energy(dimer(first, second, distance)), distances, _covalent(first, second), cutoff)


def find_nearest(energy: Energy, lattice: str, species: Sequence[str], cutoff: float) -> float:
    """Return the distance of nearest neighbours at which a crystal has its least energy, Å; otherwise like find_bond.

    OpenKIM's check of forces uses the equilibrium fcc crystal; the dimer's bond would do for none: metals are much
    denser with it than their models allow.
    """
    names = sorted(set(species))
    typical = float(np.mean([_covalent(name, name) for name in names]))
    distances = np.linspace(0.35, 0.98, 24) * cutoff
    random = np.random.default_rng(0)

    def of_crystal(distance: float) -> float:
        cell = crystal(lattice, (1, 1, 1), distance, names, random, rattle=0.0)
        ordered = tuple(names[index % len(names)] for index in range(len(cell)))
        return energy(replace(cell, species=ordered, periodic=(True, True, True))) / len(cell)

    return _lowest(of_crystal, distances, typical, cutoff)


def _covalent(first: str, second: str) -> float:
    """Return the sum of the covalent radii, Å; KIM's species that are no elements count 0.2 Å each."""
    return float(sum(covalent_radii[atomic_numbers.get(species, 0)] for species in (first, second)))


def _lowest(energy: Callable[[float], float], distances: np.ndarray, covalent: float, cutoff: float) -> float:
    """Return the plausible distance of least energy, or what stands in for it.

    From far to near, because dense structures take longest, until the energy has been rising for a while.
    """
    plausible = [float(d) for d in distances if PLAUSIBLE[0] * covalent <= d <= PLAUSIBLE[1] * covalent]
    energies: dict[float, float] = {}
    for distance in reversed(plausible or [float(d) for d in distances]):
        try:
            energies[distance] = energy(distance)
        except ModelError:
            # Denser than the model's tables go, or species that it does not combine: no place to be in either case.
            continue
        known = list(energies)
        lowest = min(known, key=lambda near: energies[near])
        if lowest != known[0] and len(known) - known.index(lowest) > RISING:
            return lowest
    return float(np.clip(covalent, SENSIBLE[0] * cutoff, SENSIBLE[1] * cutoff))
