# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes: what they inherit, and how they ended."""

import os
import signal

from kim_torchml.process import settings


def environment() -> dict[str, str]:
    """Return the environment of a child process.

    One thread of OpenMP's: threads that compute at the same time must not also split sums among them, or results would
    depend on who is idle. Nothing is imported from the working directory (Python 3.11 and newer). And failures are not
    saved: checks try what models may refuse.
    """
    inherited = {name: value for name, value in os.environ.items() if name != settings.DUMP}
    return inherited | {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


def describe_end(status: int) -> str:
    """Return how a process ended, in words; status as in subprocess: negative for a signal."""
    if status >= 0:
        return f"the process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"the process crashed ({name})"
