# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where tables are printed: the terminal, or a pipe of a fixed width."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Width of a table if standard output is not a terminal.
_PIPED_WIDTH = 120


def table_console() -> Console:
    """Return standard output as a console; without a terminal it has a width of its own, unless COLUMNS gives one."""
    # Importing rich takes a while, and not every command prints a table.
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_PIPED_WIDTH if piped else None)
