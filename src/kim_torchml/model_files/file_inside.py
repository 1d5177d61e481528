# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of a model's folder, which a stranger wrote: nothing else is read, and nothing that might never end."""

import os
import stat
from pathlib import Path

from kim_torchml.errors import DriverError


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder; that it is missing is found when it is read.

    Args:
        folder: The folder.
        name: Name of the file.
    Raises:
        DriverError: If a link there leaves the folder, or it is a folder, a pipe or a device.
    """
    path = folder / name
    try:
        target = path.resolve()
        leaves = target.parent != folder.resolve()
        # Reading a pipe or a device might never end.
        is_special = not leaves and not _is_file_or_missing(target)
    except (OSError, RuntimeError, ValueError) as error:
        # The path has links in a circle (a RuntimeError up to Python 3.12), or is a name that no file can have.
        raise DriverError(f"the file {name} cannot be found: {error}; put the file itself there") from error
    if leaves:
        raise DriverError(
            f"the file {name} must lie in the model's own folder, got a link that leaves it; put the file itself there"
        )
    if is_special:
        raise DriverError(f"{name} must be a file, got a folder, a pipe or a device; put the file itself there")
    return path


def read_inside(folder: Path, name: str, largest: int) -> bytes:
    """Return the content of a file in a folder; no more is read than it may have.

    Args:
        folder: The folder.
        name: Name of the file.
        largest: Most bytes that it may have.
    Raises:
        DriverError: If it is too large, a link that leaves the folder, or no file.
        OSError: If it is missing or cannot be read.
    """
    with path_inside(folder, name).open("rb") as file:
        content = file.read(largest + 1)
        if len(content) > largest:
            found = os.fstat(file.fileno()).st_size
            raise DriverError(f"the file {name} must have at most {largest} bytes, got {found}; shorten it")
    return content


def _is_file_or_missing(path: Path) -> bool:
    """Return whether a path is a file or leads nowhere.

    Raises:
        OSError: If the path cannot be followed, as it has links in a circle.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True
