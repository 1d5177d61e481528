# SPDX-License-Identifier: LGPL-2.1-or-later
"""A box twice as long along a periodic direction has twice the energy and the same forces."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import compare_compositions, difference
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.model_under_test import EnergyAndForces, ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome

BOUNDARIES = [periodic for periodic in itertools.product((True, False), repeat=3) if any(periodic)]


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Compare one cubic cell of a rattled fcc crystal with two, in all combinations of periodic directions."""
    random = under_test.random("periodicity-support")

    def error_of(species: Sequence[str]) -> float:
        nearest = under_test.nearest("fcc", species)
        cell = crystal("fcc", (1, 1, 1), nearest, species, random)
        errors = []
        for x, y, z in BOUNDARIES:
            one = replace(cell, periodic=(x, y, z))
            single = under_test.reference(one)
            for axis in np.flatnonzero(one.periodic):
                errors.append(difference(under_test.evaluate(one.doubled(int(axis))), _twice(single), nearest))
        return max(errors)

    return compare_compositions(
        under_test,
        error_of,
        "Doubling the box doubles the energy and repeats the forces, for all 7 combinations of periodic directions",
        "Doubling the box along a periodic direction does not double the energy, or changes the forces",
    )


def _twice(single: EnergyAndForces) -> EnergyAndForces:
    forces = None if single.forces is None else np.concatenate([single.forces, single.forces])
    return EnergyAndForces(2.0 * single.energy, forces)


CHECK = Check("periodicity-support", run)
