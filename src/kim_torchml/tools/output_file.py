# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing files, and trying beforehand whether that will work, so that long work is not done in vain."""

import errno
import os
import tempfile
from pathlib import Path

# A trial writes this much, because quotas and full file systems do not always show in the free space.
_TRIAL = bytes(64 * 1024)


def why_not_writable(path: Path) -> str:
    """Return why a file cannot be written, or an empty string; the trial leaves no trace.

    A new file is written and removed again. An existing file is only opened, so that it keeps its content.
    """
    # If the path is a link to a file that does not exist yet, that file is the one to try.
    target = Path(os.path.realpath(path))
    try:
        if target.is_file():
            with target.open("ab"):
                return ""
        if target.exists():
            # Opening a named pipe would wait for its reader.
            return "" if os.access(target, os.W_OK) else os.strerror(errno.EACCES)
        _write_new(target, _TRIAL)
        target.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def why_no_new_file_in(folder: Path) -> str:
    """Return why no new file can be written in a folder, or an empty string; the trial leaves no trace."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="kim-torchml-") as file:
            file.write(_TRIAL)
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def write(path: Path, text: str) -> str:
    """Write a file; return why that fails, or an empty string. No part of a new file stays behind."""
    target = Path(os.path.realpath(path))
    content = text.encode("utf-8")
    try:
        if target.exists():
            target.write_bytes(content)
        else:
            _write_new(target, content)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _write_new(target: Path, content: bytes) -> None:
    with target.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except BaseException:
            target.unlink()
            raise
