# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same configuration, asked for in other units, gives the same energy, forces and virial."""

from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import KimModel, ModelError
from kim_torchml.tools.kim_host.outputs import PARTICLE_ENERGIES, VIRIAL
from kim_torchml.tools.kim_host.particles import AtomsAndImages
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.kim_host.units import KIM_ERG_MISTAKE, METAL, SYSTEMS, UnitSystem
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import differences
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.grades import FAILED, pass_grade
from kim_torchml.tools.verification.model_under_test import Bench, evaluation
from kim_torchml.tools.verification.result import Finding

# Beside energy and forces: what they are called here, and their columns in the report.
OTHERS = {PARTICLE_ENERGIES: "particle energies", VIRIAL: "virial"}


def run(bench: Bench) -> Finding:
    """Create the model in the unit systems of simulators, compute a piece of crystal, and convert back."""
    random = bench.random("unit-conversion")
    nearest = bench.nearest("bcc", bench.mixture)
    piece = crystal("bcc", (2, 2, 1), nearest, bench.mixture, random)
    particles = bench.particles(piece)
    bench.reference(piece)
    outputs, left_out = _outputs(bench, particles)
    expected = bench.model.compute(particles, outputs)
    rows: list[dict[str, Any]] = []
    others = [system for system in SYSTEMS if system is not METAL]
    for index, system in enumerate(others):
        rows.append(_row(bench, system, particles, expected))
        bench.progress((index + 1) / len(others))
    return _finding(bench, rows, left_out)


def _outputs(bench: Bench, particles: AtomsAndImages) -> tuple[list[str], dict[str, str]]:
    """Return what is compared, and of what the model offers beside that, why it is not."""
    compared, left_out = [*bench.outputs], {}
    for name in OTHERS:
        if name not in bench.model.arguments.supported:
            continue
        try:
            bench.model.compute(particles, [*bench.outputs, name])
        except ModelError as error:
            # In its own units already: no question of conversion.
            left_out[OTHERS[name]] = str(error)
        else:
            compared.append(name)
    return compared, left_out


def _row(bench: Bench, system: UnitSystem, particles: AtomsAndImages, expected: dict[str, Floats]) -> dict[str, Any]:
    """Return what the model does in one system of units."""
    row: dict[str, Any] = {"configuration": f"{system.name} ({system.length}, {system.energy})"}
    try:
        model = KimModel(bench.name, system)
        if not model.accepted:
            return row | {"refused": f"works in {model.units}"}
        found = model.compute(particles, list(expected))
    except ModelError as error:
        return row | {"refused": str(error)}
    errors = _errors(bench, model, particles, found, expected)
    if system.energy == "erg":
        mended = {name: values / KIM_ERG_MISTAKE for name, values in found.items()}
        of_mended = _errors(bench, model, particles, mended, expected)
        if _badness(of_mended, bench.tolerance) < _badness(errors, bench.tolerance):
            # Not the model's mistake. It may be wrong in another way too.
            row["KIM"] = f"too small by {KIM_ERG_MISTAKE:g}, as KIM-API 2.3 itself converts ergs: not graded"
            errors = of_mended
            if max(errors.values()) <= bench.tolerance:
                return row
    return row | {"error": max(errors.values()), "errors": errors}


def _badness(errors: dict[str, float], tolerance: float) -> tuple[int, float]:
    """Return how many outputs are wrong, and by how much at most."""
    return sum(error > tolerance for error in errors.values()), max(errors.values())


def _errors(
    bench: Bench, model: KimModel, particles: AtomsAndImages, found: dict[str, Floats], expected: dict[str, Floats]
) -> dict[str, float]:
    """Return the relative error of everything that is compared."""
    nearest = bench.nearest("bcc", bench.mixture)
    errors = differences(evaluation(particles, found), evaluation(particles, expected), nearest)
    errors["influence distance"] = abs(model.influence_distance / bench.model.influence_distance - 1.0)
    for name in expected:
        if name in OTHERS:
            whole = float(np.abs(expected[name]).max())
            part = float(np.abs(found[name] - expected[name]).max())
            errors[OTHERS[name]] = part / whole if whole > 0.0 else part
    return errors


def _finding(bench: Bench, rows: list[dict[str, Any]], left_out: dict[str, str]) -> Finding:
    """Grade the rows: right in all systems that are accepted, and at least one of them beside the model's own."""
    details: dict[str, Any] = {"rows": rows, "tolerance": bench.tolerance, "left out": left_out}
    accepted = [row for row in rows if "error" in row]
    if not accepted:
        reason = next((row["refused"] for row in rows if "refused" in row), "only ergs are accepted")
        return Finding(FAILED, None, f"The model converts no units: {reason}.", details)
    worst = max(float(row["error"]) for row in accepted)
    grade = pass_grade(worst, bench.tolerance)
    comment = _wrong(accepted, bench.tolerance) if grade == FAILED else _right(rows)
    if any("KIM" in row for row in rows):
        comment += " In ergs KIM-API's own conversion is wrong (not graded)."
    if left_out:
        comment += f" Left out, because they are no numbers in Å and eV either: {', '.join(left_out)}."
    return Finding(grade, worst, comment, details)


def _wrong(accepted: list[dict[str, Any]], tolerance: float) -> str:
    """Return where the model is wrong, and what is."""
    wrong = [row for row in accepted if pass_grade(row["error"], tolerance) == FAILED]
    systems = "; ".join(row["configuration"] for row in wrong)
    outputs = [name for name in wrong[0]["errors"] if any(row["errors"][name] > tolerance for row in wrong)]
    return f"Wrong in {systems}: {', '.join(outputs)}."


def _right(rows: list[dict[str, Any]]) -> str:
    """Return where the model is right, and what it refuses."""
    count = sum("error" in row for row in rows)
    refused = [row["configuration"] for row in rows if "refused" in row]
    comment = f"The same results in {count} {'system' if count == 1 else 'systems'} of units beside Å and eV"
    return f"{comment}; refused: {'; '.join(refused)}." if refused else f"{comment}."


CHECK = Check("unit-conversion", run)
