# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ending a child process together with everything that it has started.

Such a child runs in a session of its own, so that a Ctrl-C reaches only the parent, which decides what to end.
"""

import os
import signal
import subprocess
from contextlib import suppress

from kim_torchml.tools.programs.signals import signals_held_back

# A child has this long to remove its files before it is killed.
SECONDS_TO_CLEAN_UP = 2.0


def end_process_group(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End a process that was started with `start_new_session`, and all that it has started.

    SIGTERM comes first, so that the processes can remove their files; SIGKILL then ends those that are left.
    """
    with signals_held_back():
        _send(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_CLEAN_UP)
        _send(process.pid, signal.SIGKILL)
        process.wait()


def _send(group: int, number: signal.Signals) -> None:
    # All processes of the group may have ended by themselves.
    with suppress(ProcessLookupError):
        os.killpg(group, number)
