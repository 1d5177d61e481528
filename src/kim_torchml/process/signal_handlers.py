# SPDX-License-Identifier: LGPL-2.1-or-later
"""Handlers of signals belong to the simulator: what is imported must not keep any of its own."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager

# `struct sigaction` is opaque here: its layout differs between systems, and none needs as many bytes.
_SIZE = 1024


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put handlers back that code inside has changed; Debian's torch handles SIGSEGV and SIGFPE from its import on.

    Python's own `signal` sees only handlers that were set in Python, hence the C library's function.
    """
    library = ctypes.CDLL(None)
    before = {number: _handler(library, number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if _handler(library, number).raw != handler.raw:
                library.sigaction(ctypes.c_int(number), handler, None)


def _handler(library: ctypes.CDLL, number: int) -> ctypes.Array[ctypes.c_char]:
    """Return what the process does on a signal, as the C library stores it."""
    handler = ctypes.create_string_buffer(_SIZE)
    library.sigaction(ctypes.c_int(number), None, handler)
    return handler
