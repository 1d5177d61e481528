# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a folder can hold: programs, and how much."""

import os
import tempfile
from pathlib import Path

# Written to see whether there is room in fact: quotas do not show in the free space.
_TRIAL_BYTES = 64 * 1024


def holds_programs(folder: Path) -> bool:
    """Return whether programs and libraries in a folder can be run; not so where it is mounted noexec."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def is_folder(path: Path) -> bool:
    """Return whether there is a folder of this name, which may be longer than names can be."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_read_only(folder: Path) -> bool:
    """Return whether a folder is on a file system mounted read-only."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def free_bytes(folder: Path) -> int:
    """Return how much this user can still store there."""
    file_system = os.statvfs(folder)
    return file_system.f_bavail * file_system.f_frsize


def why_not_writable(folder: Path) -> str:
    """Write and remove a file in a folder; return why that fails, or an empty string."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="kim-torchml-doctor-") as file:
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""
