# SPDX-License-Identifier: LGPL-2.1-or-later
"""A configuration and its mirror image through a point have the same energy, and opposite forces."""

from collections.abc import Sequence

from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import compare_compositions, difference
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.model_under_test import EnergyAndForces, ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Move a rattled piece of bcc crystal, then invert it through the origin."""
    random = under_test.random("inversion-symmetry")

    def error_of(species: Sequence[str]) -> float:
        nearest = under_test.nearest("bcc", species)
        piece = crystal("bcc", (2, 2, 2), nearest, species, random)
        shift = random.normal(size=3) * nearest
        before = under_test.reference(piece)
        after = under_test.evaluate(piece.moved(-(piece.positions + shift)))
        back = EnergyAndForces(after.energy, None if after.forces is None else -after.forces)
        return difference(back, before, nearest)

    return compare_compositions(
        under_test,
        error_of,
        "Inversion through a point leaves the energy and reverses the forces",
        "Inversion through a point changes the energy or does not reverse the forces",
    )


CHECK = Check("inversion-symmetry", run)
