# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same configuration, asked for in other units, gives the same energy, forces and virial."""

from typing import Any

import numpy as np

from kim_torchml.driver.output_shapes import PARTICLE_ENERGIES, VIRIAL
from kim_torchml.tools.kim_host.model import KimModel, ModelError
from kim_torchml.tools.kim_host.particles import AtomsAndImages
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.kim_host.units import KIM_ERG_MISTAKE, METAL, SYSTEMS, UnitSystem
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import differences
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.grades import FAILED, pass_grade
from kim_torchml.tools.verification.model_under_test import ModelUnderTest, energy_and_forces
from kim_torchml.tools.verification.result import CheckOutcome

# Outputs that are compared beside energy and forces, and their names in the report.
OTHERS = {PARTICLE_ENERGIES: "particle energies", VIRIAL: "virial"}


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Create the model in the unit systems of simulators, compute a piece of crystal, and convert back."""
    random = under_test.random("unit-conversion")
    nearest = under_test.nearest("bcc", under_test.mixture)
    piece = crystal("bcc", (2, 2, 1), nearest, under_test.mixture, random)
    particles = under_test.particles(piece)
    under_test.reference(piece)
    outputs, left_out = _outputs(under_test, particles)
    expected = under_test.model.compute(particles, outputs)
    rows: list[dict[str, Any]] = []
    others = [system for system in SYSTEMS if system is not METAL]
    for index, system in enumerate(others):
        rows.append(_row(under_test, system, particles, expected))
        under_test.progress((index + 1) / len(others))
    return _outcome(under_test, rows, left_out)


def _outputs(under_test: ModelUnderTest, particles: AtomsAndImages) -> tuple[list[str], dict[str, str]]:
    """Return the outputs to compare, and for each other output that the model offers why it is left out."""
    compared, left_out = [*under_test.outputs], {}
    for name in OTHERS:
        if name not in under_test.model.arguments.supported:
            continue
        try:
            under_test.model.compute(particles, [*under_test.outputs, name])
        except ModelError as error:
            # The model fails in Å and eV already, so conversion is not the reason.
            left_out[OTHERS[name]] = str(error)
        else:
            compared.append(name)
    return compared, left_out


def _row(
    under_test: ModelUnderTest, system: UnitSystem, particles: AtomsAndImages, expected: dict[str, Floats]
) -> dict[str, Any]:
    """Return the row of the report for one system of units."""
    row: dict[str, Any] = {"configuration": f"{system.name} ({system.length}, {system.energy})"}
    try:
        model = KimModel(under_test.name, system)
        if not model.accepted:
            return row | {"refused": f"works in {model.units}"}
        found = model.compute(particles, list(expected))
    except ModelError as error:
        return row | {"refused": str(error)}
    errors = _errors(under_test, model, particles, found, expected)
    if system.energy == "erg":
        mended = {name: values / KIM_ERG_MISTAKE for name, values in found.items()}
        of_mended = _errors(under_test, model, particles, mended, expected)
        if _badness(of_mended, under_test.tolerance) < _badness(errors, under_test.tolerance):
            # This mistake is KIM's; the model may have made one of its own as well.
            row["KIM"] = f"too small by {KIM_ERG_MISTAKE:g}, as KIM-API 2.3 itself converts ergs: not graded"
            errors = of_mended
            if max(errors.values()) <= under_test.tolerance:
                return row
    return row | {"error": max(errors.values()), "errors": errors}


def _badness(errors: dict[str, float], tolerance: float) -> tuple[int, float]:
    """Return the number of wrong outputs, and the greatest error."""
    return sum(error > tolerance for error in errors.values()), max(errors.values())


def _errors(
    under_test: ModelUnderTest,
    model: KimModel,
    particles: AtomsAndImages,
    found: dict[str, Floats],
    expected: dict[str, Floats],
) -> dict[str, float]:
    """Return the relative error of everything that is compared."""
    nearest = under_test.nearest("bcc", under_test.mixture)
    errors = differences(energy_and_forces(particles, found), energy_and_forces(particles, expected), nearest)
    errors["influence distance"] = abs(model.influence_distance / under_test.model.influence_distance - 1.0)
    for name in expected:
        if name in OTHERS:
            whole = float(np.abs(expected[name]).max())
            part = float(np.abs(found[name] - expected[name]).max())
            errors[OTHERS[name]] = part / whole if whole > 0.0 else part
    return errors


def _outcome(under_test: ModelUnderTest, rows: list[dict[str, Any]], left_out: dict[str, str]) -> CheckOutcome:
    """Grade the rows: the model must accept a system beside Å and eV, and be right in all that it accepts."""
    details: dict[str, Any] = {"rows": rows, "tolerance": under_test.tolerance, "left out": left_out}
    accepted = [row for row in rows if "error" in row]
    if not accepted:
        reason = next((row["refused"] for row in rows if "refused" in row), "only ergs are accepted")
        return CheckOutcome(FAILED, None, f"The model converts no units: {reason}.", details)
    worst = max(float(row["error"]) for row in accepted)
    grade = pass_grade(worst, under_test.tolerance)
    comment = _wrong(accepted, under_test.tolerance) if grade == FAILED else _right(rows)
    if any("KIM" in row for row in rows):
        comment += " In ergs KIM-API's own conversion is wrong (not graded)."
    if left_out:
        comment += f" Left out, because they are no numbers in Å and eV either: {', '.join(left_out)}."
    return CheckOutcome(grade, worst, comment, details)


def _wrong(accepted: list[dict[str, Any]], tolerance: float) -> str:
    """Return the systems in which the model is wrong, and the wrong outputs."""
    wrong = [row for row in accepted if pass_grade(row["error"], tolerance) == FAILED]
    systems = "; ".join(row["configuration"] for row in wrong)
    outputs = [name for name in wrong[0]["errors"] if any(row["errors"][name] > tolerance for row in wrong)]
    return f"Wrong in {systems}: {', '.join(outputs)}."


def _right(rows: list[dict[str, Any]]) -> str:
    """Return the number of systems in which the model is right, and the systems that it refuses."""
    count = sum("error" in row for row in rows)
    refused = [row["configuration"] for row in rows if "refused" in row]
    comment = f"The same results in {count} {'system' if count == 1 else 'systems'} of units beside Å and eV"
    return f"{comment}; refused: {'; '.join(refused)}." if refused else f"{comment}."


CHECK = Check("unit-conversion", run)
