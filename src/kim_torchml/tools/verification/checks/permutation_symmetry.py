# SPDX-License-Identifier: LGPL-2.1-or-later
"""Atoms of one species are interchangeable."""

from collections.abc import Sequence

import numpy as np

from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import compare_compositions, difference
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.model_under_test import EnergyAndForces, ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Swap atoms of the same species at random in a rattled piece of diamond."""
    random = under_test.random("permutation-symmetry")

    def error_of(species: Sequence[str]) -> float:
        nearest = under_test.nearest("diamond", species)
        piece = crystal("diamond", (2, 1, 1), nearest, species, random)
        order = permutation(piece, random)
        before = under_test.reference(piece)
        after = under_test.evaluate(piece.moved(piece.positions[order]))
        forces = None if before.forces is None else before.forces[order]
        return difference(after, EnergyAndForces(before.energy, forces), nearest)

    return compare_compositions(
        under_test,
        error_of,
        "Swapping atoms of the same species changes neither the energy nor the forces at any place",
        "Swapping atoms of the same species changes the energy or the forces",
    )


def permutation(structure: Structure, random: np.random.Generator) -> np.ndarray:
    """Return a random order of the atoms in which every place keeps its species."""
    names = np.array(structure.species)
    order = np.arange(len(names))
    for name in sorted(set(structure.species)):
        places = np.flatnonzero(names == name)
        order[places] = random.permutation(places)
    return order


CHECK = Check("permutation-symmetry", run)
