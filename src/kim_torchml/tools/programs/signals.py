# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ctrl-C and its kin as exceptions, so that what a process has started or stored temporarily goes with it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asks this process to end. The driver takes it for Ctrl-C, which it is as a rule.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


_first: int | None = None
_holders = 0


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let signals raise Interrupted in the main thread; those that are ignored, as nohup does, stay so."""
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
    # The driver hands on as Ctrl-C whatever ended its own Python code.
    _first = _first or number
    if not _holders:
        raise Interrupted(_first)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let signals wait until this is over: where an exception would leave something behind."""
    global _holders
    already = _first
    _holders += 1
    try:
        yield
    finally:
        _holders -= 1
        if _first is not None and already is None:
            raise Interrupted(_first)
