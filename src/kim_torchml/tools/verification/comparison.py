# SPDX-License-Identifier: LGPL-2.1-or-later
"""Comparison of energies and forces with those that they must equal, which five of the checks have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.verification.grades import FAILED, TOLERANCE, pass_grade
from kim_torchml.tools.verification.model_under_test import EnergyAndForces, ModelUnderTest, label
from kim_torchml.tools.verification.result import CheckOutcome


def difference(found: EnergyAndForces, expected: EnergyAndForces, length: float) -> float:
    """Return the greater of the relative differences of energy and forces; see `differences`."""
    return max(differences(found, expected, length).values())


def differences(found: EnergyAndForces, expected: EnergyAndForces, length: float) -> dict[str, float]:
    """Return the relative difference of the energy and, where there are any, of the forces.

    Differences of forces are relative to the greatest component expected. Differences of energies are relative to the
    energy or to the work of that force along `length`, whichever is greater: an energy can be near zero by chance.

    Args:
        found: what the model gave.
        expected: what it must give.
        length: a distance at which atoms interact, Å.
    """
    of_energy = abs(found.energy - expected.energy)
    if found.forces is None or expected.forces is None:
        return {"energy": _ratio(of_energy, abs(expected.energy))}
    greatest = float(np.abs(expected.forces).max(initial=0.0))
    return {
        "energy": _ratio(of_energy, max(abs(expected.energy), greatest * length)),
        "forces": _ratio(float(np.abs(found.forces - expected.forces).max(initial=0.0)), greatest),
    }


def _ratio(part: float, whole: float) -> float:
    """Return part / whole, 0 if both vanish, and infinity if only the whole does."""
    if part == 0.0:
        return 0.0
    return part / whole if whole > 0.0 else float("inf")


def compare_compositions(
    under_test: ModelUnderTest, error_of: Callable[[Sequence[str]], float], holds: str, broken: str
) -> CheckOutcome:
    """Grade the greatest error over all compositions that the model can compute.

    Args:
        under_test: the model.
        error_of: function that returns the relative error for one composition.
        holds: comment for an error within the tolerance, without its full stop.
        broken: comment for a greater error, without its full stop.
    """
    rows: list[dict[str, Any]] = []
    compositions = under_test.compositions()
    for index, species in enumerate(compositions):
        row: dict[str, Any] = {"configuration": label(species)}
        try:
            row["error"] = error_of(species)
        except ModelError as error:
            # As in OpenKIM's checks, what the model cannot compute does not count as an error here.
            row["not computed"] = str(error)
        rows.append(row)
        under_test.progress((index + 1) / len(compositions))
    errors = [row["error"] for row in rows if "error" in row]
    if not errors:
        return none_computed(rows)
    worst = max(errors)
    grade = pass_grade(worst, under_test.tolerance)
    comment = (broken if grade == FAILED else holds) + missing(rows) + rounded(under_test)
    return CheckOutcome(grade, worst, f"{comment}.", {"rows": rows, "tolerance": under_test.tolerance})


def rounded(under_test: ModelUnderTest) -> str:
    """Return a clause for the comment on a model that rounds and so is allowed more; empty for others."""
    return (
        f"; the model rounds, so up to {under_test.tolerance:.0e} is allowed"
        if under_test.tolerance > TOLERANCE
        else ""
    )


def none_computed(rows: list[dict[str, Any]]) -> CheckOutcome:
    """Return the outcome of a check that could compute nothing; each row has the reason."""
    return CheckOutcome(FAILED, None, f"no configuration could be computed: {rows[0]['not computed']}", {"rows": rows})


def missing(rows: list[dict[str, Any]]) -> str:
    """Return a clause for the comment: how many rows were not computed; empty if all were."""
    count = sum("error" not in row for row in rows)
    return f" ({count} of {len(rows)} configurations could not be computed)" if count else ""
