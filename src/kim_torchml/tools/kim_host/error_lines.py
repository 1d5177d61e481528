# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lines in which drivers of this package report errors on stderr (kim_driver_cpp/report.cpp)."""

import re
from collections.abc import Iterable

# With the rank under an MPI launcher, a Slurm job step among them.
_ERROR = re.compile(r"\[kim-torchml(?: rank [^\]]*)?\] error: *(.*)")


def errors_in(lines: Iterable[str]) -> list[str]:
    """Return the messages of those lines that report errors, without what marks them."""
    return [match.group(1).strip() for match in map(_ERROR.search, lines) if match is not None]
