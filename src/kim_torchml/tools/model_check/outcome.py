# SPDX-License-Identifier: LGPL-2.1-or-later
"""What checks of a model found: a row each, and the table of all of them."""

import io
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kim_torchml.tools.verification.grades import FAILED, NOT_APPLICABLE, PASSED

_COLOURS = {PASSED: "green", FAILED: "bold red"}
_WIDTH = 120


@dataclass(frozen=True)
class Measurement:
    """What one check found.

    Attributes:
        holds: whether the model has the property; None where it cannot be asked of this model.
        comment: what was found, in a sentence without its full stop.
        error: greatest relative error; None where none was measured.
        limit: the largest that is allowed.
    """

    holds: bool | None
    comment: str
    error: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class CheckedProperty:
    """A row of the table.

    Attributes:
        name: name of the check.
        measurement: what it found.
    """

    name: str
    measurement: Measurement

    @property
    def grade(self) -> str:
        """P, F or N/A."""
        holds = self.measurement.holds
        return NOT_APPLICABLE if holds is None else PASSED if holds else FAILED


@dataclass(frozen=True)
class CheckedModel:
    """All that was found.

    Attributes:
        summary: what the model is, on one line.
        rows: the checks, in their order.
        seconds: how long they took.
    """

    summary: str
    rows: tuple[CheckedProperty, ...]
    seconds: float

    @property
    def failures(self) -> list[CheckedProperty]:
        """The checks that failed."""
        return [row for row in self.rows if row.grade == FAILED]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    def __getitem__(self, name: str) -> CheckedProperty:
        """Return the row of a name."""
        return next(row for row in self.rows if row.name == name)

    def __str__(self) -> str:
        text = io.StringIO()
        self.print(Console(file=text, width=_WIDTH))
        return text.getvalue().rstrip("\n")

    def print(self, console: Console) -> None:
        """Print the table, and a line that sums it up."""
        console.print(Text(self.summary), highlight=False)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
        table.add_column("check", no_wrap=True)
        table.add_column("grade", justify="center")
        table.add_column("error", justify="right", no_wrap=True)
        table.add_column("limit", justify="right", no_wrap=True)
        table.add_column("what was found")
        for row in self.rows:
            found = row.measurement
            grade = Text(row.grade, style=_COLOURS.get(row.grade, ""))
            table.add_row(row.name, grade, _number(found.error), _number(found.limit), Text(found.comment))
        console.print(table)
        console.print()
        console.print(Text(self._last_line()))

    def _last_line(self) -> str:
        missing = sum(row.grade == NOT_APPLICABLE for row in self.rows)
        passed = len(self.rows) - len(self.failures) - missing
        line = f"{passed} of {len(self.rows)} checks passed"
        if self.failures:
            line += f", {len(self.failures)} failed: {', '.join(row.name for row in self.failures)}"
        if missing:
            line += f"; {missing} not applicable"
        return f"{line} ({self.seconds:.1f} s)"


def measured(error: float, limit: float, holds: str, broken: str) -> Measurement:
    """Return the measurement of an error.

    Args:
        error: The greatest relative error; NaN counts as too large.
        limit: The largest that is allowed.
        holds: Comment where it is not larger.
        broken: Comment where it is.
    """
    within = error <= limit
    return Measurement(within, holds if within else broken, error, limit)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "0" if value == 0.0 else f"{value:.0e}"
