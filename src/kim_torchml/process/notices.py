# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this process says on stderr, tagged with its rank."""

import sys

from kim_torchml import __version__
from kim_torchml.process import settings
from kim_torchml.process.rank import Rank

_announced = False


def announce_first_use(rank: Rank, facts: str) -> None:
    """Say once per process, on stderr, what runs where; KIM_TORCHML_QUIET=1 silences it."""
    global _announced
    if _announced or settings.is_quiet():
        return
    _announced = True
    print(f"[kim-torchml{_tag(rank)}] driver {__version__}, {facts}", file=sys.stderr, flush=True)


def warn(rank: Rank, message: str) -> None:
    """Say on stderr what a user should know although it is no error."""
    print(f"[kim-torchml{_tag(rank)}] warning: {message}", file=sys.stderr, flush=True)


def _tag(rank: Rank) -> str:
    return "" if rank.rank is None else f" rank {rank.rank}"
