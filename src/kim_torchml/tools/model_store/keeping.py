# SPDX-License-Identifier: LGPL-2.1-or-later
"""Putting a model file into a store."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import Store, read_file
from kim_torchml.process import settings
from kim_torchml.tools.programs.signals import signals_held_back

# Nobody else reads a store of the user's own; one that is named may serve many users.
_MODE_IN_PRIVATE_STORE, _MODE = 0o600, 0o644


@contextmanager
def kept_in_store(stores: Sequence[Store], digest: str, content: bytes) -> Iterator[Path]:
    """Put a model file into the first store; if what follows fails, it is removed unless it was there before.

    Args:
        stores: Stores of model files.
        digest: SHA-256 of the file.
        content: Its bytes.
    Raises:
        DriverError: If there is none, or the store is missing, cannot be written, or must not be used.
    """
    if not stores:
        raise DriverError(
            "a store of model files must have a folder, got none, as this user has no home folder; name a folder in "
            "KIM_TORCHML_MODEL_PATH, set XDG_DATA_HOME, or install with --no-store"
        )
    store = stores[0]
    path = store.path_of(digest)
    _make(store)
    if reason := store.why_not_usable():
        raise _cannot_use(store, reason)
    is_ours = False
    try:
        if not _holds(path, digest):
            is_ours = _write(store, path, digest, content)
        yield path
    except BaseException:
        if is_ours:
            with signals_held_back(), suppress(OSError):
                path.unlink()
        raise
    # Another installation, which had put the file there, may have failed and removed it meanwhile.
    if not _holds(path, digest):
        _write(store, path, digest, content)


def _make(store: Store) -> None:
    """Make the user's own store; a folder that the user has named must be there, as its name may be misspelt."""
    if not store.is_private or store.folder.exists():
        return
    try:
        store.folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (store.folder.parent, store.folder):
            folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise _cannot_use(store, f"{error.filename} is no folder") from error
    except OSError as error:
        raise _cannot_use(store, error.strerror or str(error)) from error


def _cannot_use(store: Store, reason: str) -> DriverError:
    return DriverError(
        f"the store of model files {store.folder} cannot be used: {reason}; mend that, name another folder in "
        f"{settings.MODEL_PATH}, or install with --no-store"
    )


def _holds(path: Path, digest: str) -> bool:
    """Return whether the store has the file, whole."""
    return read_file(path, digest)[0] is not None


def _write(store: Store, path: Path, digest: str, content: bytes) -> bool:
    """Write a file under another name, read it again, and give it its name: no part of it is ever seen.

    Returns:
        Whether there was no file of that name.
    """
    name = ""
    try:
        with signals_held_back():
            handle, name = tempfile.mkstemp(prefix=".new-", dir=store.folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary = Path(name)
        temporary.chmod(_MODE_IN_PRIVATE_STORE if store.is_private else _MODE)
        if not _holds(temporary, digest):
            raise OSError("what was written cannot be read again as it was")
        return _give_name(temporary, path)
    except OSError as error:
        raise _cannot_use(store, error.strerror or str(error)) from error
    finally:
        if name:
            with signals_held_back():
                Path(name).unlink(missing_ok=True)


def _give_name(file: Path, path: Path) -> bool:
    """Give a file its name, in place of any other; return whether no other had it."""
    try:
        # Of two that come at once, one alone succeeds here.
        os.link(file, path)
        return True
    except FileExistsError:
        is_new = False
    except OSError:
        # This file system has no links.
        is_new = not path.exists()
    file.replace(path)
    return is_new
