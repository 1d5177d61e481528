# SPDX-License-Identifier: LGPL-2.1-or-later
"""Energies and forces beside those that they must equal: what five of the checks have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.verification.grades import FAILED, TOLERANCE, pass_grade
from kim_torchml.tools.verification.model_under_test import Bench, Evaluation, label
from kim_torchml.tools.verification.result import Finding


def difference(found: Evaluation, expected: Evaluation, length: float) -> float:
    """Return the greater of the relative differences of energy and forces; see `differences`."""
    return max(differences(found, expected, length).values())


def differences(found: Evaluation, expected: Evaluation, length: float) -> dict[str, float]:
    """Return the relative difference of the energy and, where there are any, of the forces.

    Forces are compared over the greatest component expected; energies over the greater of the energy and the work of
    that force along `length`, so that an energy near zero by chance does not count.

    Args:
        found: What the model gave.
        expected: What it must have given.
        length: A distance at which atoms interact, Å.
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
    """Return part / whole, and 0 if both vanish."""
    if part == 0.0:
        return 0.0
    return part / whole if whole > 0.0 else float("inf")


def compare_compositions(bench: Bench, error_of: Callable[[Sequence[str]], float], holds: str, broken: str) -> Finding:
    """Grade the greatest error over all compositions that the model can compute.

    Args:
        bench: The model.
        error_of: Computes the relative error for one composition.
        holds: The comment if it is within the tolerance, without its full stop.
        broken: The comment if not, likewise.
    """
    rows: list[dict[str, Any]] = []
    compositions = bench.compositions()
    for index, species in enumerate(compositions):
        row: dict[str, Any] = {"configuration": label(species)}
        try:
            row["error"] = error_of(species)
        except ModelError as error:
            # As in OpenKIM: what the model cannot compute is not held against it here.
            row["not computed"] = str(error)
        rows.append(row)
        bench.progress((index + 1) / len(compositions))
    errors = [row["error"] for row in rows if "error" in row]
    if not errors:
        return none_computed(rows)
    worst = max(errors)
    grade = pass_grade(worst, bench.tolerance)
    comment = (broken if grade == FAILED else holds) + missing(rows) + rounded(bench)
    return Finding(grade, worst, f"{comment}.", {"rows": rows, "tolerance": bench.tolerance})


def rounded(bench: Bench) -> str:
    """Return that more is allowed of a model that rounds, to follow a comment; empty if it does not."""
    return f"; the model rounds, so up to {bench.tolerance:.0e} is allowed" if bench.tolerance > TOLERANCE else ""


def none_computed(rows: list[dict[str, Any]]) -> Finding:
    """Return the finding where every row has the reason why it was not computed."""
    return Finding(FAILED, None, f"no configuration could be computed: {rows[0]['not computed']}", {"rows": rows})


def missing(rows: list[dict[str, Any]]) -> str:
    """Return how many rows have no error because they were not computed, to follow a comment; empty if none."""
    count = sum("error" not in row for row in rows)
    return f" ({count} of {len(rows)} configurations could not be computed)" if count else ""
