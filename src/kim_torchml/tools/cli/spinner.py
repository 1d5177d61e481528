# SPDX-License-Identifier: LGPL-2.1-or-later
"""A line on stderr that shows what a command does and for how long, in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def spinner(first: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done until the block ends; where stderr is no terminal, nothing is shown.

    Args:
        first: What is done first.
    Yields:
        A function that shows what is done next.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        line = progress.add_task(first, total=None)
        yield lambda text: progress.update(line, description=text)
