# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cache of compiled programs: native code that this user has made on this machine, which nobody else can change.

An entry is a folder named by the digest of its key. It appears as a whole, by a rename, and holds the digests of its
own files: whoever reads one that is damaged is told so and does without it.
"""

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kim_torchml.engines.exported.compiled.entry import FACTS, CacheEntry, damage_of, digest_of_file, read_entry
from kim_torchml.engines.exported.compiled.key import Key, why_not_here
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.errors import DriverError
from kim_torchml.process.cache_folder import entry_folders, flaw_of

MAKE_ANEW = "run `kim-torchml compile --force` with the model's name"
_UNFINISHED, _LOCK, _REPORT = "unfinished-", ".lock", ".log"
# A folder that is younger than this may belong to a process that is still at work, s.
_YOUNG = 10.0
# How often a process looks whether another one has compiled what both want, s.
_LOOK_AGAIN = 0.2


class Cache:
    """A folder of compiled programs.

    Attributes:
        folder: the folder; it is made when the first program is compiled.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the folder; nothing is looked at yet."""
        self.folder = folder

    def why_not_usable(self) -> str:
        """Return why programs of this cache must not be run, with what mends it; an empty string where they may be."""
        return str(flaw_of(self.folder) or "")

    def place_of(self, key: Key) -> Path:
        """Return the folder of a key's entry, which need not be there."""
        return self.folder / key.digest

    def find(self, key: Key) -> tuple[CacheEntry | None, str]:
        """Return the entry of a key; or None, and what is wrong with what is there, if anything is."""
        if reason := self.why_not_usable():
            return None, f"the cache of compiled programs {self.folder} is not used: {reason}"
        folder = self.place_of(key)
        if not folder.exists():
            return None, self._why_others_do_not_fit(key)
        entry, reason = read_entry(folder)
        if entry is not None and entry.key != key:
            reason = "it is of another program"
        reason = reason or ("" if entry is None else damage_of(entry))
        if reason:
            return None, f"the compiled program {folder} is not used: {reason}; {MAKE_ANEW}"
        return entry, ""

    def _why_others_do_not_fit(self, key: Key) -> str:
        """Return why entries of the same model for the same type of device are not used; nothing if there are none."""
        found = [entry for _, entry, _ in self._read_all() if entry is not None and entry.key.is_same_program(key)]
        reasons = dict.fromkeys(filter(None, (why_not_here(entry.key) for entry in found)))
        return f"what was compiled of it is {' and '.join(reasons)}; {MAKE_ANEW}" if reasons else ""

    def _read_all(self) -> Iterator[tuple[Path, CacheEntry | None, str]]:
        """Yield folder, entry if it can be read, and why it cannot; its other files are not looked at."""
        if not self.why_not_usable():
            for folder in entry_folders(self.folder):
                yield (folder, *read_entry(folder))

    def entries(self) -> list[tuple[Path, CacheEntry | None, str]]:
        """Return what is in the cache: folder, entry if it can be read, and why it cannot be used."""
        return [
            (folder, entry, reason or ("" if entry is None else damage_of(entry)))
            for folder, entry, reason in self._read_all()
        ]

    def remove(self, folder: Path) -> None:
        """Remove an entry by its folder.

        Raises:
            DriverError: If it cannot be removed.
        """
        # Nobody finds an entry of another name: one that is half removed does no harm.
        doomed = folder.with_name(f"{_UNFINISHED}{folder.name[:12]}-{os.getpid()}")
        try:
            folder.rename(doomed)
            if doomed.is_symlink():
                doomed.unlink()
            else:
                shutil.rmtree(doomed)
        except OSError as error:
            raise DriverError(f"cannot remove {folder}: {error.strerror}; remove it yourself") from error

    def unfinished_folders(self) -> list[Path]:
        """Return the folders of processes that compile now, and those that killed ones have left."""
        return sorted(self.folder.glob(f"{_UNFINISHED}*")) if self.folder.exists() else []

    def remove_unfinished(self) -> list[Path]:
        """Remove what processes have left that were killed; return which folders that were."""
        removed = []
        for folder in self.unfinished_folders():
            # It may go at any moment, by the process that it belongs to.
            with suppress(OSError, DriverError), self._locked(folder / _LOCK, None, makes=False) as is_free:
                # Whoever has just made a folder has no lock there yet.
                if is_free and time.time() - folder.stat().st_ctime > _YOUNG:
                    shutil.rmtree(folder)
                    removed.append(folder)
        return removed

    @contextmanager
    def locked(self, key: Key, wait: Callable[[float], None]) -> Iterator[None]:
        """Let one process alone compile what a key stands for; a process that ends, however it does, gives way.

        Args:
            key: The key.
            wait: Is called again and again while another process compiles, with the seconds so far.
        Raises:
            DriverError: If the cache cannot be used or written.
        """
        self._make()
        with self._locked(self.folder / f"{key.digest}{_LOCK}", wait):
            yield

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """Make a folder for an entry that is being made; it is removed at the end unless it was published.

        Raises:
            DriverError: If the cache cannot be used or written.
        """
        self._make()
        try:
            folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        except OSError as error:
            raise not_writable(self.folder, error) from error
        try:
            with self._locked(folder / _LOCK, wait=None):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, key: Key, name: str, facts: Facts) -> CacheEntry:
        """Let an entry appear, in place of one that is there.

        Args:
            folder: Where its files are, and nothing else.
            key: What it was made of and for.
            name: Name of the model, for people.
            facts: What it turned out to be.
        Raises:
            DriverError: If it cannot be written.
        """
        target = self.place_of(key)
        try:
            files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != _LOCK)
            digests = {path.name: digest_of_file(path) for path in files}
            entry = CacheEntry(target, key, facts, digests, name, time.time())
            (folder / FACTS).write_text(entry.to_json(), encoding="utf-8")
            for path in (*files, folder / FACTS):
                # Compilers give the rights that the user's umask leaves.
                path.chmod(0o600)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if target.exists():
                self.remove(target)
            ready = folder.with_name(f"{folder.name}-ready")
            ready.mkdir(mode=0o700)
            for path in (*files, folder / FACTS):
                path.rename(ready / path.name)
            ready.rename(target)
        except OSError as error:
            raise not_writable(self.folder, error) from error
        with suppress(OSError):
            (self.folder / f"{key.digest}{_REPORT}").unlink()
        return entry

    def keep_report(self, key: Key, text: str) -> Path:
        """Keep what was printed while compiling failed; return where.

        Raises:
            DriverError: If it cannot be written.
        """
        path = self.folder / f"{key.digest}{_REPORT}"
        try:
            path.unlink(missing_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise not_writable(self.folder, error) from error
        return path

    def keep_failure(self, key: Key, reason: str) -> None:
        """Let those that wait for the lock know why compiling has failed; where it cannot be written, they try too."""
        with suppress(OSError):
            said = {"failed": time.time(), "reason": reason}
            (self.folder / f"{key.digest}{_LOCK}").write_text(json.dumps(said), encoding="utf-8")

    def failure_since(self, key: Key, asked: float) -> str:
        """Return why compiling has failed since a time, s since 1970; an empty string if it has not."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads((self.folder / f"{key.digest}{_LOCK}").read_text(encoding="utf-8"))
            return str(said["reason"]) if said["failed"] >= asked else ""
        return ""

    def remove_reports(self) -> None:
        """Remove what was printed where compiling failed."""
        # A folder that holds other things too may have other reports.
        for path in self.folder.glob(f"{'[0-9a-f]' * 64}{_REPORT}") if self.folder.exists() else ():
            with suppress(OSError):
                path.unlink()

    def _make(self) -> None:
        if reason := self.why_not_usable():
            raise DriverError(f"the cache of compiled programs {self.folder} cannot be used: {reason}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(self.folder, error) from error
        # Somebody else may have made it meanwhile.
        if reason := self.why_not_usable():
            raise DriverError(f"the cache of compiled programs {self.folder} cannot be used: {reason}")

    @contextmanager
    def _locked(self, path: Path, wait: Callable[[float], None] | None, makes: bool = True) -> Iterator[bool]:
        """Hold a lock file, which is made unless it must be there; without `wait`, yield at once whether it is held."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if makes else 0)
        try:
            file = os.open(path, flags, 0o600)
        except OSError as error:
            raise not_writable(self.folder, error) from error
        started = time.monotonic()
        try:
            is_held = _try_lock(file, self.folder)
            while not is_held and wait is not None:
                wait(time.monotonic() - started)
                time.sleep(_LOOK_AGAIN)
                is_held = _try_lock(file, self.folder)
            yield is_held
        finally:
            # The lock goes with the file; a child that has inherited it would keep it.
            os.close(file)


def _try_lock(file: int, folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Some network file systems have no locks.
    except OSError as error:
        raise DriverError(
            f"cannot lock a file in the cache of compiled programs {folder}: {error.strerror}; name a folder on "
            "another file system in KIM_TORCHML_CACHE"
        ) from error
    return True


def not_writable(folder: Path, error: OSError) -> DriverError:
    """Return the error of a cache in whose folder nothing can be written."""
    advice = "make room there, or name" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name"
    return DriverError(
        f"cannot write into the cache of compiled programs {folder}: {error.strerror or error}; {advice} another folder"
        " in KIM_TORCHML_CACHE"
    )
