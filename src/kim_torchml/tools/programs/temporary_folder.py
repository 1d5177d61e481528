# SPDX-License-Identifier: LGPL-2.1-or-later
"""Temporary folders that no signal leaves behind."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kim_torchml.tools.programs.signals import signals_held_back

# A program that was killed may still finish a write, which makes removing the folder fail once.
_TRIES = 20
_SECONDS_BETWEEN = 0.1


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a folder that nobody else can look into, and remove it at the end with all that it holds.

    Args:
        prefix: Beginning of its name.
        parent: Folder to make it in; by default where temporary files are kept.
    Raises:
        OSError: If it cannot be made.
    """
    folder: Path | None = None
    try:
        with signals_held_back():
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        yield folder
    finally:
        if folder is not None:
            with signals_held_back():
                _remove(folder)


def _remove(folder: Path) -> None:
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_SECONDS_BETWEEN)
