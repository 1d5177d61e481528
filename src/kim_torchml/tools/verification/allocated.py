# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much memory this process uses, as the operating system and malloc count it."""

import ctypes
import os
from pathlib import Path

RESIDENT = Path("/proc/self/statm")


class _Mallinfo2(ctypes.Structure):
    """The structure that glibc's mallinfo2 returns (malloc.h; glibc 2.33 and newer)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def resident_bytes() -> int | None:
    """Return this process's resident memory, in whole pages; None where there is no /proc."""
    if not RESIDENT.exists():
        return None
    return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allocated_bytes() -> int | None:
    """Return how many bytes malloc has allocated and not freed; None if the C library does not tell.

    Python's own allocator for small objects is not counted.
    """
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return None
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)
