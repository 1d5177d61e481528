# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a folder can hold: programs, and how much."""

import os
from pathlib import Path


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
