# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing on stderr, where nothing that goes wrong may end the simulation: what cannot be written is dropped.

kim_driver_cpp/report.cpp does the same for what the shim says.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def write_line(line: str) -> None:
    """Write a line on stderr in one piece, so that lines of several ranks do not mix; drop it if that fails."""
    write(f"{line}\n")


def write(text: str) -> None:
    """Write a text on stderr in one piece; drop it if that fails."""
    stream = sys.stderr
    # Python has no stream where stderr was closed before it started.
    if stream is None:
        return
    is_plain = stream is sys.__stderr__
    # The stream of a host may lack a method, or raise anything.
    with _without_sigpipe(), suppress(Exception):
        if is_plain:
            stream.flush()
            # The stream would keep what it could not write, and fail once more when Python ends.
            _write_all(stream.fileno(), text.encode(errors="backslashreplace"))
        else:
            # A host has put a stream of its own in its place, as notebooks do.
            stream.write(text)
            stream.flush()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def _without_sigpipe() -> Iterator[None]:
    """Keep SIGPIPE from ending the process where the reader of stderr is gone: simulators do not ignore it."""
    if signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGPIPE,))
    try:
        yield
    finally:
        # One that this thread has caused meanwhile is taken away; one that was blocked before is its owner's.
        if signal.SIGPIPE not in before:
            signal.sigtimedwait((signal.SIGPIPE,), 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
