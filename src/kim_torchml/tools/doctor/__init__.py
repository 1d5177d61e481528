# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of what makes an installation fail, each with the exact fix.

No module here imports torch, because a broken torch may end the process. Code that needs it runs in a child process.
"""

from kim_torchml.tools.doctor.checks import GROUPS, examine
from kim_torchml.tools.doctor.finding import Finding, Status
from kim_torchml.tools.doctor.machine import Machine

__all__ = ["GROUPS", "Finding", "Machine", "Status", "examine"]
