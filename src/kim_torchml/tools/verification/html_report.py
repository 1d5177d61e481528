# SPDX-License-Identifier: LGPL-2.1-or-later
"""The result as one HTML page that needs no other file: grades, tables of configurations, plots."""

import base64
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from kim_torchml.tools.verification import plots
from kim_torchml.tools.verification.grades import LETTER_LIMITS, MACHINE_PRECISION, TOLERANCE
from kim_torchml.tools.verification.result import CheckResult, Verification
from kim_torchml.tools.verification.table import error_of, said, summary

# Columns of the table of configurations: keys in the details, and headings.
COLUMNS = {
    "configuration": "configuration",
    "error": "relative error",
    "computed": "computed",
    "wrong": "wrong results",
    "uncertainty": "uncertainty (eV/Å)",
    "greatest force": "greatest force (eV/Å)",
    "worst": "greatest deviation",
    "errors": "of each output",
    "bond": "bond (Å)",
    "refused": "refused",
    "KIM": "KIM-API",
    "not computed": "not computed",
    "not computed beyond": "not computed beyond (Å)",
}


@dataclass(frozen=True)
class Figure:
    """A picture and its caption.

    Attributes:
        data: the picture, as a data URL.
        caption: one or two sentences.
    """

    data: str
    caption: str


def html_report(verification: Verification) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kim_torchml.tools.verification", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell
    sections = [
        {
            "result": result,
            "error": error_of(result),
            "columns": _columns(result),
            "figures": _figures(result),
        }
        for result in verification.results
    ]
    return environment.get_template("report.html.j2").render(
        verification=verification,
        summary=summary(verification),
        said=said(verification),
        sections=sections,
        headings=COLUMNS,
        limits={letter: f"{MACHINE_PRECISION * 10**limit:.1e}" for letter, limit in LETTER_LIMITS.items()},
        tolerance=f"{TOLERANCE:.0e}",
        nve=verification.nve,
        nve_figure=_nve_figure(verification.nve),
    )


def cell(value: Any) -> str | Markup:
    """Return a value of a table's row as text."""
    if value is None or value == "":
        return Markup("&nbsp;")
    if isinstance(value, float):
        # Energies that fade out exponentially can be as small as 1e-128.
        return "0" if abs(value) < 1e-30 else f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {error:.1g}" for name, error in value.items())
    return str(value)


def _columns(result: CheckResult) -> list[str]:
    """Return the columns that at least one row of a check has."""
    rows = result.details.get("rows", [])
    return [key for key in COLUMNS if any(key in row for row in rows)]


def _figure(svg: str, caption: str) -> Figure:
    return Figure("data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(), caption)


def _figures(result: CheckResult) -> list[Figure]:
    """Return the pictures of a check."""
    details = result.details
    if result.name == "dimer-continuity-c1":
        rows = [row for row in details.get("rows", []) if "distances" in row]
        # Pairs with jumps come first: readers look for these.
        rows.sort(key=lambda row: not row["jumps"])
        caption = (
            "Energy and force of two atoms over their distance. Red: a jump. Where the dashed line, the slope of the "
            "energy, leaves the force, forces and energies do not belong together."
        )
        return [_figure(plots.dimer(row), caption) for row in rows[: plots.MOST_DIMERS]]
    if result.name == "forces-numerical-derivative" and details.get("by step"):
        caption = (
            "How far a plain central difference along one random direction is from the model's force. From right to "
            "left the error falls with the square of the step, until rounding takes over; a line that stays level "
            "high up is an error of the forces."
        )
        return [_figure(plots.force_error(details["by step"]), caption)]
    if result.name == "memory-leak" and "cycles" in details:
        caption = (
            "Memory of the process: what malloc has given out, and what is resident. A leak rises as steadily as the "
            "dashed line, or steeper."
        )
        return [_figure(plots.memory(details), caption)]
    return []


def _nve_figure(run: dict[str, Any] | None) -> Figure | None:
    if run is None or "failed" in run:
        return None
    if run["broke_off"]:
        caption = f"The run broke off after {len(run['times_fs'])} steps: an atom was thrown out of the crystal."
        return _figure(plots.nve(run), caption)
    caption = (
        f"Velocity Verlet from 300 K, steps of {run['step_fs']:.2g} fs: the total energy drifts by "
        f"{1e3 * run['drift_eV_per_atom_ps']:.2g} meV an atom in a picosecond and fluctuates by "
        f"{1e3 * run['fluctuation_eV_per_atom']:.2g} meV an atom."
    )
    return _figure(plots.nve(run), caption)
