# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forces are minus the derivative of the energy."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import missing, none_computed
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.derivatives import Derivative, central_difference, gradient, random_direction
from kim_torchml.tools.verification.grades import NOT_APPLICABLE, letter_grade, score
from kim_torchml.tools.verification.model_under_test import ModelUnderTest, label
from kim_torchml.tools.verification.result import CheckOutcome

# A model is slow if the energy of 8 atoms, which is needed some 300 times, takes longer than this, s.
SLOW = 0.02
# Relative to the distance of nearest neighbours.
GREATEST_STEP = 0.01
# A force and its numerical derivative agree by chance if they differ by no more than this many uncertainties.
WITHIN = 3.0
STEPS = np.logspace(-1.5, -8.5, 29)


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Compare all components of the forces on a rattled piece of fcc crystal, for each composition."""
    if not under_test.has_forces:
        return CheckOutcome(NOT_APPLICABLE, None, "The model computes no forces.")
    random = under_test.random("forces-numerical-derivative")
    rows: list[dict[str, Any]] = []
    compositions = under_test.compositions()
    by_step: dict[str, Any] = {}
    for index, species in enumerate(compositions):
        row: dict[str, Any] = {"configuration": label(species)}
        try:
            piece = _piece(under_test, species, random)
            row |= _compare(under_test, piece, under_test.nearest("fcc", species), random, (index, len(compositions)))
            by_step = by_step or error_by_step(under_test, piece, under_test.nearest("fcc", species), random) | row
        except ModelError as error:
            row["not computed"] = str(error)
        rows.append(row)
    return _outcome(rows, by_step)


def _piece(under_test: ModelUnderTest, species: Sequence[str], random: np.random.Generator) -> Structure:
    """Return two rattled cells of fcc crystal (8 atoms), or one (4 atoms) for a slow model."""
    nearest = under_test.nearest("fcc", species)
    pieces = [crystal("fcc", (count, 1, 1), nearest, species, random) for count in (1, 2)]
    under_test.energy(pieces[1])
    started = time.monotonic()
    under_test.energy(pieces[1])
    return pieces[0] if time.monotonic() - started > SLOW else pieces[1]


def _compare(
    under_test: ModelUnderTest, piece: Structure, nearest: float, random: np.random.Generator, position: tuple[int, int]
) -> dict[str, Any]:
    """Return the relative error of the forces, and where it is greatest."""
    forces = under_test.reference(piece).forces
    assert forces is not None
    index, count = position
    energy, at = under_test.energy_of(piece), piece.positions.ravel()
    noise = under_test.noise(piece, nearest, random)
    derivative = gradient(
        energy, at, GREATEST_STEP * nearest, noise, lambda fraction: under_test.progress((index + fraction) / count)
    )
    numerical = -derivative.values
    wrong = np.abs(forces.ravel() - numerical)
    worst = int(wrong.argmax())
    return {
        "error": relative_error(forces.ravel(), derivative),
        "uncertainty": float(np.linalg.norm(derivative.uncertainties)),
        "within": bool((wrong <= WITHIN * derivative.uncertainties).all()),
        "greatest force": float(np.abs(forces).max()),
        "worst": f"atom {worst // 3 + 1} ({piece.species[worst // 3]}), {'xyz'[worst % 3]}: "
        f"{forces.ravel()[worst]:.6g} eV/Å, numerically {numerical[worst]:.6g}",
    }


def relative_error(forces: Floats, derivative: Derivative) -> float:
    """Return the root mean square of forces + derivative over that of the derivative; infinite if the latter is 0.

    As in KIM-API's utility_forces_numer_deriv, the weight of a component is the inverse of its uncertainty: components
    with a poor numerical derivative, such as that of an atom with a neighbour at the cutoff, count less.
    """
    scale = float(np.abs(derivative.values).max(initial=0.0))
    if scale == 0.0:
        return float("inf")
    weights = 1.0 / np.maximum(derivative.uncertainties / scale, np.finfo(float).eps)
    whole = float(np.sqrt((weights * derivative.values**2).sum()))
    return float(np.sqrt((weights * (forces + derivative.values) ** 2).sum())) / whole


def error_by_step(
    under_test: ModelUnderTest, piece: Structure, nearest: float, random: np.random.Generator
) -> dict[str, Any]:
    """Return the errors of plain central differences with several steps (Å) in one random direction, for the plot."""
    forces = under_test.evaluate(piece).forces
    assert forces is not None
    energy, at = under_test.energy_of(piece), piece.positions.ravel()
    direction = random_direction(at, random)
    along = float(forces.ravel() @ direction)
    steps = STEPS * nearest
    errors = [abs(-central_difference(energy, at, direction, float(step)) - along) for step in steps]
    scale = abs(along) or 1.0
    return {"steps": steps.tolist(), "errors": [error / scale for error in errors]}


def _outcome(rows: list[dict[str, Any]], by_step: dict[str, Any]) -> CheckOutcome:
    errors = {row["configuration"]: row["error"] for row in rows if "error" in row}
    if not errors:
        return none_computed(rows)
    worst = max(errors, key=lambda name: errors[name])
    grade = letter_grade(errors[worst])
    details = {"rows": rows, "by step": by_step, "score": min(score(errors[worst]), 99.0)}
    row = next(row for row in rows if row["configuration"] == worst)
    if grade not in "AB" and row["within"]:
        comment = (
            f"Forces equal minus the numerical derivative of the energy within its uncertainty, {errors[worst]:.0e}, "
            "relative: the energy is too rough for more (single precision?)"
        )
    elif grade in "AB":
        comment = f"Forces equal minus the numerical derivative of the energy to {errors[worst]:.0e}, relative"
    else:
        comment = (
            f"Forces deviate from minus the numerical derivative of the energy by {errors[worst]:.0e}, relative; "
            f"most at {row['worst']}"
        )
    return CheckOutcome(grade, errors[worst], f"{comment}{missing(rows)}.", details)


CHECK = Check("forces-numerical-derivative", run)
