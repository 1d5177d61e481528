# SPDX-License-Identifier: LGPL-2.1-or-later
"""A line on stderr that says how far long work is; short work says nothing."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# s
_DELAY = 2.0


class LateProgress:
    """Progress in the terminal, which appears once the work has taken a while; nothing where stderr is no terminal."""

    def __init__(self, console: Console | None = None, delay: float = _DELAY) -> None:
        """Begin to measure time.

        Args:
            console: Where to show the line; by default standard error.
            delay: How long to wait before, s.
        """
        self._console = console or Console(stderr=True)
        self._delay = delay
        self._started = time.monotonic()
        self._shown: Progress | None = None

    def __enter__(self) -> "LateProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._shown is not None:
            self._shown.stop()

    def __call__(self, what: str, fraction: float) -> None:
        """Say what is being done, and which part of all is done."""
        if self._shown is None and self._console.is_terminal and time.monotonic() - self._started >= self._delay:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
            self._shown = Progress(*columns, console=self._console, transient=True)
            self._shown.start()
            self._shown.add_task(what, total=1.0)
        if self._shown is not None:
            (task,) = self._shown.tasks
            self._shown.update(task.id, description=what, completed=fraction)
