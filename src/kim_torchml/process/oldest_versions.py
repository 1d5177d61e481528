# SPDX-License-Identifier: LGPL-2.1-or-later
"""The oldest versions of what kim-torchml needs that it runs with.

CMake and kim_driver_cpp/describe_python.py read this file as text: each line must stay NAME = "X.Y". Where a number is
needed before this file is there, a test compares it.
"""

OLDEST_PYTHON = "3.10"
OLDEST_TORCH = "2.4"
OLDEST_KIM_API = "2.2"
# The first whose torch.export.save writes weights as plain bytes. Such files run with any torch that is new enough for
# kim-torchml: all operators that programs may use are older.
OLDEST_EXPORTING_TORCH = "2.9"


def is_older(version: str, oldest: str) -> bool:
    """Return whether a version, such as 2.13.0+cpu, comes before one of the form X.Y."""
    parts = ("".join(c for c in part if c.isdigit()) or "0" for part in version.split(".")[:2])
    return tuple(map(int, parts)) < tuple(map(int, oldest.split(".")))
