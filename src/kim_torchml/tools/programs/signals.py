# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signals that end a process, raised as exceptions, so that it can first end its children and remove its files."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asks this process to end.

    It derives from KeyboardInterrupt, so that the driver handles it as it handles Ctrl-C, the most frequent case.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


# The first signal since signals_raise() began, and how many signals_held_back() are active.
_first: int | None = None
_holders = 0


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let signals raise Interrupted in the main thread; signals that are ignored, as under nohup, stay ignored."""
    global _first
    _first = None
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    global _first
    del frame
    # The driver reports any interruption as Ctrl-C, so a second signal must not hide which one came first.
    _first = _first or number
    if not _holders:
        raise Interrupted(_first)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Delay signals until the block ends, for code that an exception would leave half done."""
    global _holders
    already = _first
    _holders += 1
    try:
        yield
    finally:
        _holders -= 1
        if _first is not None and already is None:
            raise Interrupted(_first)
