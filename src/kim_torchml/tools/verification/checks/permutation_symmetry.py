# SPDX-License-Identifier: LGPL-2.1-or-later
"""Atoms of one species are interchangeable."""

from collections.abc import Sequence

import numpy as np

from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import compare_compositions, difference
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.model_under_test import Bench, Evaluation
from kim_torchml.tools.verification.result import Finding


def run(bench: Bench) -> Finding:
    """Swap atoms of the same species at random in a rattled piece of diamond."""
    random = bench.random("permutation-symmetry")

    def error_of(species: Sequence[str]) -> float:
        nearest = bench.nearest("diamond", species)
        piece = crystal("diamond", (2, 1, 1), nearest, species, random)
        order = permutation(piece, random)
        before = bench.reference(piece)
        after = bench.evaluate(piece.moved(piece.positions[order]))
        forces = None if before.forces is None else before.forces[order]
        return difference(after, Evaluation(before.energy, forces), nearest)

    return compare_compositions(
        bench,
        error_of,
        "Swapping atoms of the same species changes neither the energy nor the forces at any place",
        "Swapping atoms of the same species changes the energy or the forces",
    )


def permutation(structure: Structure, random: np.random.Generator) -> np.ndarray:
    """Return a random order of the atoms that keeps every place's species."""
    names = np.array(structure.species)
    order = np.arange(len(names))
    for name in sorted(set(structure.species)):
        places = np.flatnonzero(names == name)
        order[places] = random.permutation(places)
    return order


CHECK = Check("permutation-symmetry", run)
