# SPDX-License-Identifier: LGPL-2.1-or-later
"""What takes a compiler is built once, although several processes share out the tests."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kim_collection import KimCollection


def _copy_anew(source: str, target: str) -> None:
    """Copy a file in place of another one, which stays as it is for a process that has loaded it."""
    Path(target).unlink(missing_ok=True)
    shutil.copy2(source, target)


class BuiltOnce:
    """Folders that the first process that asks for them builds; each process gets a copy, which it may change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_this_run(cls, factory: pytest.TempPathFactory) -> "BuiltOnce":
        """Return those of all processes of this run of pytest."""
        own = factory.getbasetemp()
        # pytest-xdist gives each of its processes a folder in one of the run; alone, a process has the run's own.
        run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
        folder = run / "built_once"
        folder.mkdir(exist_ok=True)
        return cls(folder)

    def copy(self, name: str, build: Callable[[Path], object], target: Path) -> None:
        """Copy what `build` makes in the empty folder that it is given; others wait meanwhile.

        Args:
            name: Name of what is built, unique in this run.
            build: It is called unless a process has built this before. Afterwards the folder gets another path.
            target: A folder, which may be there already.
        """
        built = self._folder / name
        with built.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not built.is_dir():
                part = built.with_suffix(".part")
                # Another process may have failed to build it.
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                build(part)
                part.rename(built)
        shutil.copytree(built, target, dirs_exist_ok=True, copy_function=_copy_anew)

    def install(self, name: str, build: Callable[[KimCollection], None], collection: KimCollection) -> None:
        """Install what `build` installs into the empty collection that it is given; as `copy` otherwise."""

        def build_items(folder: Path) -> None:
            own = KimCollection(folder / "collection")
            build(own)
            for items in own.items:
                items.rename(folder / items.name)
            # Its settings, and what KIM has logged.
            shutil.rmtree(own.folder)

        self.copy(name, build_items, collection.folder)
