# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output belongs to the simulator: what models print goes to standard error.

Torch prints through sys.stdout, which all threads share. A stand-in takes its place while models run, and looks at the
thread that writes: other threads of a host reach the host's own stream.
"""

import io
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kim_torchml.process import standard_error

# A signal handler may load or run a model, in the thread that the signal has interrupted.
_lock = threading.RLock()
# How many models each thread is inside of, by the thread's number.
_inside: Counter[int] = Counter()


class _Nowhere(io.TextIOBase):
    """A stream that drops what is written: a host that has no stdout loses what it prints, without an error."""

    def write(self, text: str) -> int:
        """Drop a text."""
        return len(text)


class _StandIn:
    """A stream in place of sys.stdout; it is the host's own stream for everything but what models print.

    A host that has kept it, as contextlib.redirect_stdout does, may put it back at any time: it then does no harm.
    """

    def __init__(self, stream: Any) -> None:
        # What a host without a console has in sys.stdout is None, and that is put back afterwards.
        self._original = stream
        self._stream = _Nowhere() if stream is None else stream

    def write(self, text: str) -> Any:
        """Write to the host's stream, or to standard error if a model prints."""
        if not _is_models_thread():
            return self._stream.write(text)
        standard_error.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what models print that this thread loads or runs; a host may set sys.stdout meanwhile."""
    thread = threading.get_ident()
    with _lock:
        if not isinstance(sys.stdout, _StandIn):
            sys.stdout = _StandIn(sys.stdout)
        _inside[thread] += 1
    try:
        yield
    finally:
        with _lock:
            _inside[thread] -= 1
            if not _inside[thread]:
                del _inside[thread]
            if not _inside and isinstance(sys.stdout, _StandIn):
                sys.stdout = sys.stdout._original


def _is_models_thread() -> bool:
    """Return whether the thread that writes runs a model, or is one of torch's own, which run a model's tasks."""
    if threading.get_ident() in _inside:
        return True
    try:
        # The caller of `write`: where torch's own threads print, no Python code has called it.
        sys._getframe(2)
    except ValueError:
        return bool(_inside)
    return False
