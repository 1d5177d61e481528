# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the time of a model's computes goes, and on how much, measured where KIM_TORCHML_PROFILE is on.

Code that takes time marks it with `timed`, and says with `counted` how much there was to do; where no profile is taken,
both do nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

EDGES = "neighbour lists and edges"
FORWARD = "model, forward"
GRADIENT = "model, gradient"
OUTPUTS = "outputs"
# What ranks do that compute one system together; what others have is not timed where there are none.
WAITING = "waiting for other ranks"
EXCHANGE = "exchange between ranks"
REST = "rest of the driver"
OUTSIDE = "outside of the driver"

_SECTIONS = (EDGES, FORWARD, GRADIENT, OUTPUTS, WAITING, EXCHANGE)
_OF_SEVERAL_RANKS = (WAITING, EXCHANGE)

ROWS = "rows"
CONTRIBUTING = "rows that contribute"
N_EDGES = "edges"
BYTES = "bytes to other ranks"

_NOTHING = nullcontext()
# Several threads may compute at the same time, each within a compute of its own.
_of_thread = threading.local()


def timed(section: str) -> AbstractContextManager[None]:
    """Count the time within as that of a section, if this thread is in a compute that is profiled.

    Within another section the time counts as that of the inner one alone.
    """
    compute: _Compute | None = getattr(_of_thread, "compute", None)
    return _NOTHING if compute is None else compute.timed(section)


def counted(what: str, number: int) -> None:
    """Add a number to what this compute has had to do, if it is profiled."""
    compute: _Compute | None = getattr(_of_thread, "compute", None)
    if compute is not None:
        compute.numbers[what] = compute.numbers.get(what, 0) + number


class _Compute:
    """Times within one compute, in seconds by section, and numbers of what there was to do."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self.seconds = dict.fromkeys(_SECTIONS, 0.0)
        self.numbers: dict[str, int] = {}
        self._synchronise = synchronise
        # Time of sections within the one that has begun last.
        self._inner = 0.0

    @contextmanager
    def timed(self, section: str) -> Iterator[None]:
        self._synchronise()
        started, inner_before = time.perf_counter(), self._inner
        self._inner = 0.0
        try:
            yield
            self._synchronise()
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[section] += elapsed - self._inner
            self._inner = inner_before + elapsed


class Profile:
    """Times of a model's computes.

    The first compute of a model takes much longer than the others, and is left out of the means.
    """

    def __init__(self, synchronise: Callable[[], None]) -> None:
        """Begin with no time.

        Args:
            synchronise: Function that waits until the model's device has done all that it was given.
        """
        self._synchronise = synchronise
        self._lock = threading.Lock()
        self._first: float | None = None
        self._n_computes = 0
        self._seconds = dict.fromkeys((*_SECTIONS, REST, OUTSIDE), 0.0)
        self._numbers: dict[str, int] = {}

    @contextmanager
    def compute(self, started: float | None) -> Iterator[None]:
        """Measure one compute.

        Args:
            started: When the simulator called the driver, by time.perf_counter; by default now.
        """
        before = time.perf_counter() if started is None else started
        outer = getattr(_of_thread, "compute", None)
        compute = _of_thread.compute = _Compute(self._synchronise)
        try:
            yield
        finally:
            _of_thread.compute = outer
            self._add(compute, before, time.perf_counter())

    def _add(self, compute: _Compute, started: float, ended: float) -> None:
        last_end: float | None = getattr(_of_thread, "last_end", None)
        _of_thread.last_end = ended
        with self._lock:
            self._n_computes += 1
            if self._first is None:
                self._first = ended - started
                return
            for section, value in compute.seconds.items():
                self._seconds[section] += value
            for what, number in compute.numbers.items():
                self._numbers[what] = self._numbers.get(what, 0) + number
            self._seconds[REST] += ended - started - sum(compute.seconds.values())
            if last_end is not None:
                # A signal handler may have computed too, during the compute that it has interrupted.
                self._seconds[OUTSIDE] += max(0.0, started - last_end)

    def table(self, what: str) -> str:
        """Return the times as a table of several lines, or an empty string if there was no compute.

        Args:
            what: What was measured, for the first line.
        """
        if self._first is None:
            return ""
        n = self._n_computes - 1
        lines = [f"profile of {what}: the first compute took {1e3 * self._first:.1f} ms"]
        if n == 0:
            return f"{lines[0]}; there was no other"
        lines[0] += f"; mean of the other {n}:"
        total = sum(self._seconds.values())
        for section, seconds in self._seconds.items():
            if seconds or section not in _OF_SEVERAL_RANKS:
                lines.append(f"  {section:<26}{1e3 * seconds / n:10.3f} ms {100 * seconds / max(total, 1e-12):5.1f} %")
        lines.append(f"  {'a step':<26}{1e3 * total / n:10.3f} ms")
        lines += [f"  {what:<26}{number / n:10.0f}" for what, number in self._numbers.items()]
        return "\n".join(lines)
