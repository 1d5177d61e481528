# SPDX-License-Identifier: LGPL-2.1-or-later
"""The processes that checks run in: their environment, and how they ended."""

import os
import signal

from kim_torchml.process import settings


def child_environment() -> dict[str, str]:
    """Return the environment variables of a child process.

    OpenMP gets one thread: if it split sums among several, the results of models that compute at the same time would
    depend on which threads are idle. PYTHONSAFEPATH keeps Python from importing modules of the working directory (3.11
    and newer). Failures are not saved and do not end the process, because checks try what models may refuse.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in (settings.DUMP, settings.ON_ERROR)}
    return inherited | {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


def describe_exit(status: int) -> str:
    """Return how a process ended, in words; the status is subprocess', which is negative for a signal."""
    if status >= 0:
        return f"the process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"the process crashed ({name})"
