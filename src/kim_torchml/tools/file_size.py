# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes of files for people."""


def file_size(n_bytes: int) -> str:
    """Return a size such as 20.1 MB, in decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} B"
