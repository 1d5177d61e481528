# SPDX-License-Identifier: LGPL-2.1-or-later
"""Properties of folders: whether programs run there, whether files can be written, and how much room is left."""

import os
from pathlib import Path

from kim_torchml.tools.output_file import why_no_new_file_in


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


def why_no_files_in(folder: Path) -> str:
    """Return why a folder, which need not exist yet, cannot hold files, or an empty string."""
    try:
        existing = next(path for path in (folder, *folder.parents) if _is_there(path))
    except OSError as error:
        # The name may be too long, or be a link that leads back to itself.
        return error.strerror or str(error)
    return why_no_new_file_in(existing) if existing.is_dir() else f"'{existing}' is not a folder"


def _is_there(path: Path) -> bool:
    """Return whether something is at a path; from Python 3.14 on, Path.exists hides why that cannot be told.

    Raises:
        OSError: If the path cannot be followed.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
