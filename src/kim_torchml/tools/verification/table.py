# SPDX-License-Identifier: LGPL-2.1-or-later
"""The result as a table in the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kim_torchml.tools.verification.grades import FAILED, MACHINE_PRECISION, NOT_APPLICABLE
from kim_torchml.tools.verification.result import CheckResult, Verification, VerifiedModel

_COLOURS = {"A": "green", "P": "green", "B": "green", "C": "yellow", "D": "yellow", FAILED: "bold red"}


def print_model(console: Console, model: VerifiedModel) -> None:
    """Print name, species and influence distance of the model."""
    species = ", ".join(model.species[:12]) + (
        f" and {len(model.species) - 12} more" if len(model.species) > 12 else ""
    )
    console.print(Text(model.name, style="bold"))
    line = f"species {species}; influence distance {model.influence_distance:.4g} Å"
    if model.checked != model.species:
        line += f"; checked: {', '.join(model.checked)}"
    console.print(line, highlight=False)


def print_results(console: Console, verification: Verification) -> None:
    """Print the table of grades and one line that sums it up."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("check", no_wrap=True)
    table.add_column("grade", justify="center")
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column("what was found")
    for result in verification.results:
        grade = Text(result.grade, style=_COLOURS.get(result.grade, ""))
        table.add_row(result.name, grade, error_of(result), escape(result.comment))
    console.print(table)
    console.print()
    console.print(summary(verification), highlight=False)
    for line in said(verification):
        console.print(escape(f"the model said: {line}"), highlight=False)


def error_of(result: CheckResult) -> str:
    """Return the error of a check for a table: a relative one, or one with its unit."""
    if result.error is None:
        return ""
    if result.name == "memory-leak":
        return f"{result.error:.0f} B"
    return "0" if result.error < MACHINE_PRECISION else f"{result.error:.0e}"


def said(verification: Verification, most: int = 3) -> list[str]:
    """Return the last line that the model printed in each check that failed: the first few, without repetitions."""
    lines = [result.details["log"][-1] for result in verification.failures if "log" in result.details]
    return list(dict.fromkeys(lines))[:most]


def summary(verification: Verification) -> str:
    """Return one line: how many checks passed, and which failed."""
    results, failures = verification.results, verification.failures
    missing = sum(result.grade == NOT_APPLICABLE for result in results)
    passed = len(results) - len(failures) - missing
    seconds = sum(result.seconds for result in results)
    line = f"{passed} of {len(results)} checks passed"
    if failures:
        line += f", {len(failures)} failed: {', '.join(result.name for result in failures)}"
    if missing:
        line += f"; {missing} not applicable"
    return f"{line} ({seconds:.0f} s)"
