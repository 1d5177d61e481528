# SPDX-License-Identifier: LGPL-2.1-or-later
"""Progress in the terminal: the check that runs, how far it is, and the grades so far."""

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from kim_torchml.tools.verification.result import CheckResult, Verification
from kim_torchml.tools.verification.runner import Listener, Options, verify


def with_progress(options: Options, console: Console) -> Verification:
    """Run the checks; if the console is a terminal, a line of it shows what runs.

    Raises:
        ModelError: See runner.verify.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[grades]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        line = progress.add_task(f"opening {options.model}", total=1.0, grades="")
        return verify(options, _listener(progress, line, len(options.checks)))


def _listener(progress: Progress, line: TaskID, count: int) -> Listener:
    grades: list[str] = []

    def started(name: str) -> None:
        progress.update(line, description=name, completed=0.0)

    def progressed(name: str, fraction: float) -> None:
        del name
        progress.update(line, completed=fraction)

    def finished(result: CheckResult) -> None:
        grades.append(result.grade)
        progress.update(line, completed=1.0, grades=f"{len(grades)}/{count} {' '.join(grades)}")

    return Listener(started=started, progressed=progressed, finished=finished)
