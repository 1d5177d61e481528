# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that commands write at the end of long work: tried before it starts."""

import errno
import os
from pathlib import Path

# Written to see whether there is room at all.
_TRIAL_BYTES = 64 * 1024


def why_not_writable(path: Path) -> str:
    """Try to write a file, which stays as it was, or is not there as before; return why that fails, or nothing."""
    # A link may point to what is not there yet.
    target = Path(os.path.realpath(path))
    try:
        if target.is_file():
            with target.open("ab"):
                return ""
        if target.exists():
            # To open a named pipe waits for its reader.
            return "" if os.access(target, os.W_OK) else os.strerror(errno.EACCES)
        _write_new(target, bytes(_TRIAL_BYTES))
        target.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def write(path: Path, text: str) -> str:
    """Write a file; return why that fails, or nothing. No part of a new file stays behind."""
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
