# SPDX-License-Identifier: LGPL-2.1-or-later
"""The report for people, readable at 80 columns and in a pipe, and the same as JSON."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from kim_torchml import __version__
from kim_torchml.tools.doctor.finding import Finding, Status

# The colours only emphasise the words, which a pipe or a plain terminal shows too.
_STYLES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.PROBLEM: "bold red",
    Status.SKIPPED: "dim",
}
_INDENT = 10
_WIDEST = 100


class Report:
    """A report that prints each finding as soon as it is added."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._group = ""
        self._width = min(console.width, _WIDEST)
        self._line(f"kim-torchml {__version__}: checking this installation (torch takes some seconds)")

    def _line(self, text: str | Text) -> None:
        # Rich must not colour numbers or turn :words: into emoji, and long commands stay in one piece for copying.
        self._console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def add(self, group: str, finding: Finding) -> None:
        """Print a finding, under the heading of its group."""
        if group != self._group:
            self._group = group
            self._line("")
            self._line(Text(group, style="bold"))
        first, *others = self._wrapped(f"{finding.name}: {finding.found}")
        self._line(
            Text(f"  {finding.status.value:<{_INDENT - 2}}", style=_STYLES[finding.status]).append(
                first, style="not bold default"
            )
        )
        for line in [*others, *self._wrapped(finding.advice)]:
            self._line(" " * _INDENT + line)
        for command in finding.commands:
            self._line(" " * (_INDENT + 2) + command)

    def _wrapped(self, text: str) -> list[str]:
        one_line = " ".join(text.split())
        return textwrap.wrap(one_line, self._width - _INDENT, break_long_words=False, break_on_hyphens=False)

    def finish(self, findings: Sequence[Finding]) -> None:
        """Print how many problems and warnings there are."""
        counts = Counter(finding.status for finding in findings)
        problems, warnings = counts[Status.PROBLEM], counts[Status.WARNING]
        self._line("")
        what = f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}"
        if problems:
            advice = f"{what}: mend it from the top down, and run this again."
            self._line(Text(advice, style=_STYLES[Status.PROBLEM]))
        else:
            self._line(Text(f"No problem found, {_counted(warnings, 'warning')}.", style=_STYLES[Status.OK]))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def as_json(findings: Sequence[tuple[str, Finding]]) -> str:
    """Return findings with their groups as JSON, which a user can send with a question or a bug report."""
    rows = [
        {
            "group": group,
            "name": finding.name,
            "status": finding.status.value,
            "found": finding.found,
            "advice": finding.advice,
            "commands": list(finding.commands),
        }
        for group, finding in findings
    ]
    return json.dumps({"version": __version__, "findings": rows}, indent=2, ensure_ascii=False) + "\n"
