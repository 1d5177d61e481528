# SPDX-License-Identifier: LGPL-2.1-or-later
"""A line on stderr that says how far long work is; short work says nothing."""

import sys
import threading
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kim_torchml.tools.programs.signals import signals_held_back

# s
_DELAY = 2.0


class LateProgress:
    """Progress in the terminal, which appears once the work has taken a while; nothing where stderr is no terminal.

    A timer lets it appear, as the first step alone, importing torch or opening a model, can take long.
    """

    def __init__(self, console: Console | None = None, delay: float = _DELAY) -> None:
        """Begin to measure time.

        Args:
            console: Where to show the line; by default standard error.
            delay: How long to wait before, s.
        """
        # The stream as it is now: what exports a module keeps torch from writing to sys.stderr meanwhile.
        self._console = console or Console(file=sys.stderr, stderr=True)
        text = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), text, BarColumn(bar_width=20), TimeElapsedColumn())
        # What a model prints on stdout stays there.
        self._line = Progress(*columns, console=self._console, transient=True, redirect_stdout=False)
        self._task = self._line.add_task("", total=None)
        self._timer = threading.Timer(delay, self._show)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._is_over = self._is_shown = False

    def __enter__(self) -> "LateProgress":
        if self._console.is_interactive:
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A terminal that is left in the middle of this has no cursor.
        with signals_held_back(), self._lock:
            self._timer.cancel()
            self._is_over = True
            if self._is_shown:
                self._line.stop()

    @property
    def is_silent(self) -> bool:
        """Whether nothing is shown, as stderr is no terminal."""
        return not self._console.is_interactive

    def __call__(self, what: str, fraction: float | None = None) -> None:
        """Say what is being done, and which part of all is done, if that is known."""
        if fraction is None:
            self._line.update(self._task, description=what)
        else:
            self._line.update(self._task, description=what, completed=fraction, total=1.0)

    def _show(self) -> None:
        with self._lock:
            if not self._is_over:
                self._is_shown = True
                self._line.start()
