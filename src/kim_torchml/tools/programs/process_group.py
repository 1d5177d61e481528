# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes, each in a session of its own: what it starts ends with it, and Ctrl-C is its parent's to handle."""

import os
import signal
import subprocess
from contextlib import suppress

from kim_torchml.tools.programs.signals import signals_held_back

# Seconds that a child has to clean up.
SECONDS_TO_CLEAN_UP = 2.0


def end_process_group(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End a process that was started with `start_new_session`, and all that it has started.

    First by SIGTERM, so that it can remove its files; what is left after that, by SIGKILL.
    """
    with signals_held_back():
        _send(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_CLEAN_UP)
        _send(process.pid, signal.SIGKILL)
        process.wait()


def _send(group: int, number: signal.Signals) -> None:
    # All of them may have ended by themselves.
    with suppress(ProcessLookupError):
        os.killpg(group, number)
