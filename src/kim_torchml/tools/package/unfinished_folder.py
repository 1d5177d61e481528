# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that appear in a folder all together, or not at all, whatever interrupts the work."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.tools.kim_collections.cmake_lists import CMAKE_LISTS
from kim_torchml.tools.model_check.listed_files import files_of
from kim_torchml.tools.programs.signals import signals_held_back
from kim_torchml.tools.programs.temporary_folder import temporary_folder
from kim_torchml.tools.request_error import RequestError


class UnfinishedFolder:
    """Files that are to appear in a folder.

    Attributes:
        path: where they are until then.
    """

    def __init__(self, target: Path, scratch: Path) -> None:
        """Make a place for the files.

        Args:
            target: The folder.
            scratch: An empty folder beside it.
        """
        self._target = target
        self._before = scratch / "before"
        self.path = scratch / "files"
        self.path.mkdir()
        self._before.mkdir()

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files, by name."""
        for name, content in contents.items():
            (self.path / name).write_bytes(content)

    def publish(self, names: Sequence[str], removed: Sequence[str] = ()) -> None:
        """Let files appear in the folder, in place of those of the same names.

        Args:
            names: Names of the files.
            removed: Names of files that are to leave the folder.
        """
        with signals_held_back():
            if not self._target.exists():
                for other in [path for path in self.path.iterdir() if path.name not in names]:
                    other.unlink()
                self.path.rename(self._target)
                return
            moved: list[tuple[Path, Path]] = []
            try:
                for name in [*names, *removed]:
                    old = self._target / name
                    if os.path.lexists(old):
                        _move(old, self._before / name, moved)
                for name in names:
                    _move(self.path / name, self._target / name, moved)
            except BaseException:
                for origin, place in reversed(moved):
                    place.rename(origin)
                raise


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[UnfinishedFolder]:
    """Give files for a folder a place beside it; what is not published is gone afterwards.

    Raises:
        DriverError: If nothing can be written there.
    """
    target = Path(os.path.realpath(folder))
    try:
        with temporary_folder(f".{target.name}-unfinished-", target.parent) as scratch:
            yield UnfinishedFolder(target, scratch)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DriverError(
            f"cannot write the folder {folder}: {reason}; make room there, or name another one"
        ) from error


def check_free(folder: Path, replace: bool, how: str) -> None:
    """Check that a folder can be written.

    Args:
        folder: The folder.
        replace: Whether the files of a model in it may be replaced.
        how: What lets them be replaced, for the message; empty where nothing does.
    Raises:
        RequestError: If it is no folder, has files that may not be replaced or are no model's, or nothing to lie in.
        DriverError: If the CMakeLists.txt of the model in it cannot be read.
    """
    target = Path(os.path.realpath(folder))
    if not target.parent.is_dir():
        raise RequestError(f"the folder {folder} must lie in one that is there, got none; make {target.parent} first")
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise RequestError(f"the folder {folder} must be new or empty, got a file of that name; name another folder")
    if not any(target.iterdir()):
        return
    if not replace:
        advice = f", or replace the model in it with {how}" if how else ""
        raise RequestError(
            f"the folder {folder} must be new or empty, got one with files in it; name another folder{advice}"
        )
    if not any((target / name).is_file() for name in (CMAKE_LISTS, MODEL_TOML)):
        raise RequestError(
            f"the folder {folder} must hold a model that {how} can replace, got other files alone; name another folder"
        )
    if os.path.lexists(target / CMAKE_LISTS):
        # That of another project is an error here.
        files_of(target)


def _move(origin: Path, place: Path, moved: list[tuple[Path, Path]]) -> None:
    origin.rename(place)
    moved.append((origin, place))
