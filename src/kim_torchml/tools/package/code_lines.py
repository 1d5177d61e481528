# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which line of an author's code something comes from, for messages."""

import linecache
import os
import re
import sysconfig
import traceback
from pathlib import Path

import torch

from kim_torchml.errors import shortened

# The code in these folders is not the author's.
_FOREIGN = (
    os.path.join(os.path.dirname(torch.__file__), ""),  # noqa: PTH118, PTH120
    str(Path(__file__).resolve().parents[2]) + os.sep,
    f"{sysconfig.get_path('stdlib')}{os.sep}",
)
# Packages that are installed lie in the folder of the standard library, and may be the author's.
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in ')
_LONGEST_LINE = 80


def line_of_error(error: BaseException) -> str | None:
    """Return the last line of the author's code that an error went through; None if it went through none."""
    frames = [(each.filename, each.lineno) for each in traceback.extract_tb(error.__traceback__)]
    return _last_line(frames)


def line_of_trace(trace: str | None) -> str | None:
    """Return the last line of the author's code in a trace as torch keeps it for a node; None if there is none."""
    return _last_line([(found["file"], int(found["line"])) for found in _FRAME.finditer(trace or "")])


def line_of_frame(frame: object) -> str | None:
    """Return the line of a frame if it is one of the author's code; None if it is not, or is no frame."""
    return _last_line([(frame.filename, frame.lineno)]) if isinstance(frame, traceback.FrameSummary) else None


def in_brackets(line: str | None) -> str:
    """Return a line of code as what follows in a message on the thing that it is about; nothing for no line."""
    return f" ({line})" if line else ""


def _last_line(frames: list[tuple[str, int | None]]) -> str | None:
    for file, number in reversed(frames):
        # Code that was made in memory has no lines to show, unless it is a notebook's.
        text = linecache.getline(file, number or 0).strip()
        if number and text and not _is_foreign(file):
            return f"{_shown(file)}, line {number}: {shortened(text, _LONGEST_LINE)}"
    return None


def _is_foreign(file: str) -> bool:
    *others, library = _FOREIGN
    return file.startswith(tuple(others)) or (file.startswith(library) and not _INSTALLED.search(file))


def _shown(file: str) -> str:
    """Return the name of a file: relative to the working folder where it lies in there, for a short message."""
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
