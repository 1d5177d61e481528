# SPDX-License-Identifier: LGPL-2.1-or-later
"""Properties of folders: whether programs run there, and how much room is left."""

import os
from pathlib import Path


def holds_programs(folder: Path) -> bool:
    """Return whether programs and libraries in a folder can be run, which the mount option noexec forbids."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; a path that is too long for a name is none, and raises no error."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_read_only(folder: Path) -> bool:
    """Return whether a folder is on a file system mounted read-only."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user can still store in a folder."""
    file_system = os.statvfs(folder)
    return file_system.f_bavail * file_system.f_frsize
