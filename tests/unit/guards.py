# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bounds on the time and the memory that code may take, and on the files that it may open."""

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

SECONDS = 10.0
BYTES = 384 * 2**20


class TooMuchError(AssertionError):
    """Code went beyond a bound."""


@contextlib.contextmanager
def bounded(seconds=SECONDS, size=BYTES):
    """Allow the code inside this long (wall clock) and this much more memory."""

    def end(*_):
        raise TooMuchError(f"it takes more than {seconds} s")

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, end)
    resource.setrlimit(resource.RLIMIT_AS, (now + size, hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except MemoryError as error:
        raise TooMuchError(f"it takes more than {size} bytes") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, handler)


def sparse(path):
    """Make a file of 8 GiB that takes no room."""
    path.touch()
    os.truncate(path, 2**33)


class _Watch:
    """Notes what is opened outside a folder. Audit hooks cannot be removed, so there is only one of it per process."""

    def __init__(self):
        self.folder = None
        self.outside = []
        sys.addaudithook(self._see)

    def _see(self, event, arguments):
        if self.folder is None or event not in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.system"):
            return
        path = arguments[0]
        if event != "open" or (isinstance(path, str | bytes) and not self._is_inside(os.fsdecode(path))):
            self.outside.append((event, path))

    def _is_inside(self, path):
        return os.path.realpath(path).startswith(self.folder + os.sep)


_watch = None


@contextlib.contextmanager
def confined_to(folder):
    """Allow the code inside to open files below this folder only."""
    global _watch
    _watch = _watch or _Watch()
    _watch.outside.clear()
    _watch.folder = os.path.realpath(folder)
    try:
        yield
    finally:
        _watch.folder = None
    if _watch.outside:
        raise TooMuchError(f"something outside {folder} was opened: {_watch.outside}")
