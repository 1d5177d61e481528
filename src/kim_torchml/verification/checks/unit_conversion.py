# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same configuration, asked for in other units, gives the same energy, forces and virial."""

from typing import Any

import numpy as np

from kim_torchml.verification.bench import Bench, evaluation
from kim_torchml.verification.checks.base import Check
from kim_torchml.verification.comparison import difference
from kim_torchml.verification.grades import FAILED, TOLERANCE, pass_grade
from kim_torchml.verification.kim_model import ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, KimModel, ModelError
from kim_torchml.verification.particles import Particles
from kim_torchml.verification.result import Finding
from kim_torchml.verification.structures import Floats, crystal
from kim_torchml.verification.units import KIM_ERG_MISTAKE, METAL, SYSTEMS, UnitSystem

COMPARED = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL)


def run(bench: Bench) -> Finding:
    """Create the model in the unit systems of simulators, compute a piece of crystal, and convert back."""
    random = bench.random("unit-conversion")
    nearest = bench.nearest("bcc", bench.species)
    piece = crystal("bcc", (2, 2, 1), nearest, bench.species, random)
    particles = bench.particles(piece)
    outputs = [name for name in COMPARED if name in bench.model.arguments.supported]
    expected = bench.model.compute(particles, outputs)
    rows: list[dict[str, Any]] = []
    others = [system for system in SYSTEMS if system is not METAL]
    for index, system in enumerate(others):
        rows.append(_row(bench, system, particles, expected))
        bench.progress((index + 1) / len(others))
    return _finding(rows)


def _row(bench: Bench, system: UnitSystem, particles: Particles, expected: dict[str, Floats]) -> dict[str, Any]:
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
        # Not the model's mistake, unless it is wrong in another way too.
        mended = {name: values / KIM_ERG_MISTAKE for name, values in found.items()}
        if max(_errors(bench, model, particles, mended, expected).values()) <= TOLERANCE:
            return row | {"KIM": f"too small by {KIM_ERG_MISTAKE:g}, as KIM-API 2.3 itself converts ergs: not graded"}
    worst = max(errors, key=lambda name: errors[name])
    return row | {"error": errors[worst], "greatest in": worst}


def _errors(
    bench: Bench, model: KimModel, particles: Particles, found: dict[str, Floats], expected: dict[str, Floats]
) -> dict[str, float]:
    """Return the relative error of everything that is compared."""
    nearest = bench.nearest("bcc", bench.species)
    errors = {"energy and forces": difference(evaluation(particles, found), evaluation(particles, expected), nearest)}
    errors["influence distance"] = abs(model.influence_distance / bench.model.influence_distance - 1.0)
    for name in (PARTICLE_ENERGIES, VIRIAL):
        if name in expected:
            whole = float(np.abs(expected[name]).max())
            part = float(np.abs(found[name] - expected[name]).max())
            errors[name] = part / whole if whole > 0.0 else part
    return errors


def _finding(rows: list[dict[str, Any]]) -> Finding:
    """Grade the rows: right in all systems that are accepted, and at least one of them beside the model's own."""
    details = {"rows": rows, "tolerance": TOLERANCE}
    accepted = [row for row in rows if "error" in row]
    if not accepted:
        reason = next((row["refused"] for row in rows if "refused" in row), "only ergs are accepted")
        return Finding(FAILED, None, f"The model converts no units: {reason}.", details)
    worst = max(accepted, key=lambda row: float(row["error"]))
    grade = pass_grade(worst["error"])
    if grade == FAILED:
        wrong = [row["configuration"] for row in accepted if pass_grade(row["error"]) == FAILED]
        comment = f"Wrong in {'; '.join(wrong)}. The {worst['greatest in']} differ most."
    else:
        comment = f"The same results in {len(accepted)} systems of units beside Å and eV"
        refused = [row["configuration"] for row in rows if "refused" in row]
        comment += f"; refused: {'; '.join(refused)}." if refused else "."
    if any("KIM" in row for row in rows):
        comment += " In ergs KIM-API's own conversion is wrong (not graded)."
    return Finding(grade, worst["error"], comment, details)


CHECK = Check(
    "unit-conversion",
    "The model, created in other units, gives the same energies, forces and virials.",
    run,
)
