# SPDX-License-Identifier: LGPL-2.1-or-later
"""Five configurations that a converted model is compared for, of elements that it knows."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states

# Elements and compounds of which there are good crystals; otherwise the first ones of the model are taken.
_ELEMENTS = ("Si", "Cu", "Al", "Fe", "C", "Mg", "Na")
_COMPOUNDS = (("Na", "Cl"), ("Mg", "O"), ("Si", "C"), ("Si", "O"), ("C", "H"), ("H", "O"))
# Å of the compounds that have the structure of rock salt.
_ROCK_SALT = {("Na", "Cl"): 5.64, ("Mg", "O"): 4.21}
_CRYSTALS = ("fcc", "bcc", "diamond", "sc", "hcp")
# Distances of neighbours in crystals that nobody has measured, and in molecules, in sums of covalent radii.
_IN_CRYSTALS, _IN_MOLECULES = 1.3, 1.1
_RATTLE = 0.05
# Enough atoms for neighbours of all kinds, and few enough for a second.
_ATOMS = 64


def reference_structures(species: Sequence[str]) -> dict[str, tuple[Atoms, ...]]:
    """Return configurations by name: crystal, compound, lone atoms, dimer and primitive cell.

    Crystal and compound are rattled; the primitive cell is perfect. A model of one species has no compound. There is a
    lone atom of each species, so that species which the others leave out cannot be mixed up.

    Args:
        species: Symbols of the elements that the model knows.
    """
    element = next((each for each in _ELEMENTS if each in species), species[0])
    pair = next((each for each in _compounds(species)), None)
    primitive = _bulk(element)
    found: dict[str, tuple[Atoms, ...]] = {f"crystal ({element})": (_rattled(primitive),)}
    if pair is not None:
        found[f"compound ({''.join(pair)})"] = (_rattled(_compound(pair)),)
    first, second = pair or (element, element)
    each = first if len(species) == 1 else f"each of {len(species)} species"
    found[f"lone atom ({each})"] = tuple(Atoms(symbol, positions=[[0.1, 0.2, 0.3]]) for symbol in species)
    distance = _IN_MOLECULES * _radii(first, second)
    places = [np.zeros(3), np.full(3, distance / 3**0.5)]
    found[f"dimer ({first}-{second})"] = (Atoms([first, second], positions=places),)
    found[f"primitive cell ({element})"] = (primitive,)
    return found


def _compounds(species: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from (each for each in _COMPOUNDS if set(each) <= set(species))
    if len(species) > 1:
        yield species[0], species[1]


def _bulk(symbol: str) -> Atoms:
    state = reference_states[atomic_numbers[symbol]]
    if state is not None and state["symmetry"] in _CRYSTALS:
        return bulk(symbol)
    return bulk(symbol, "fcc", a=2**0.5 * _IN_CRYSTALS * _radii(symbol, symbol))


def _compound(pair: tuple[str, str]) -> Atoms:
    a = _ROCK_SALT.get(pair, 2 * _IN_CRYSTALS * _radii(*pair))
    return bulk("".join(pair), "rocksalt", a=a)


def _radii(*symbols: str) -> float:
    return float(sum(covalent_radii[atomic_numbers[each]] for each in symbols))


def _rattled(primitive: Atoms) -> Atoms:
    """Return a supercell whose atoms are displaced."""
    times = round((_ATOMS / len(primitive)) ** (1 / 3))
    atoms: Atoms = primitive * (times, times, times)
    atoms.rattle(_RATTLE, seed=1)
    return atoms
