# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of what makes an installation fail, each with the exact fix.

Nothing here imports torch: where it is broken, it may end the process. What needs it runs in a child process.
"""

from kim_torchml.tools.doctor.checks import GROUPS, examine
from kim_torchml.tools.doctor.finding import Finding, Status
from kim_torchml.tools.doctor.machine import Machine

__all__ = ["GROUPS", "Finding", "Machine", "Status", "examine"]
