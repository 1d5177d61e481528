# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the time of a model's computes goes, measured where KIM_TORCHML_PROFILE is on.

Code that takes time marks it with `timed`; where no profile is taken, that does nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

EDGES = "neighbour lists and edges"
FORWARD = "model, forward"
GRADIENT = "model, gradient"
OUTPUTS = "outputs"
REST = "rest of the driver"
OUTSIDE = "outside of the driver"

_SECTIONS = (EDGES, FORWARD, GRADIENT, OUTPUTS)

_NOTHING = nullcontext()
# Several threads may compute at the same time, each within a compute of its own.
_of_thread = threading.local()


def timed(section: str) -> AbstractContextManager[None]:
    """Count the time within as that of a section, if this thread is in a compute that is profiled."""
    compute: _Compute | None = getattr(_of_thread, "compute", None)
    return _NOTHING if compute is None else compute.timed(section)


class _Compute:
    """Times within one compute, in seconds by section."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self.seconds = dict.fromkeys(_SECTIONS, 0.0)
        self._synchronise = synchronise

    @contextmanager
    def timed(self, section: str) -> Iterator[None]:
        self._synchronise()
        started = time.perf_counter()
        try:
            yield
            self._synchronise()
        finally:
            self.seconds[section] += time.perf_counter() - started


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
            self._add(compute.seconds, before, time.perf_counter())

    def _add(self, seconds: dict[str, float], started: float, ended: float) -> None:
        last_end: float | None = getattr(_of_thread, "last_end", None)
        _of_thread.last_end = ended
        with self._lock:
            self._n_computes += 1
            if self._first is None:
                self._first = ended - started
                return
            for section, value in seconds.items():
                self._seconds[section] += value
            self._seconds[REST] += ended - started - sum(seconds.values())
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
            lines.append(f"  {section:<26}{1e3 * seconds / n:10.3f} ms {100 * seconds / max(total, 1e-12):5.1f} %")
        lines.append(f"  {'a step':<26}{1e3 * total / n:10.3f} ms")
        return "\n".join(lines)
