# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this process says on stderr, tagged with its rank."""

import threading

from kim_torchml import __version__
from kim_torchml.process import settings
from kim_torchml.process.rank import Rank
from kim_torchml.process.standard_error import write_line

# What was said, and of what; every line is said once, however often the simulator creates the model.
_said: set[tuple[object, str]] = set()
_lock = threading.Lock()

_FIRST_USE = "first use"


def announce_first_use(rank: Rank, facts: str) -> None:
    """Say once per process what runs where, unless KIM_TORCHML_QUIET is on."""
    if not settings.is_quiet() and _is_new(_FIRST_USE):
        write_line(f"[kim-torchml{_tag(rank)}] driver {__version__}, {facts}")


def leave_out_first_use() -> None:
    """Leave out the line about the first use in this process, which looks at models and computes nothing with them."""
    _is_new(_FIRST_USE)


def warn(rank: Rank, message: str, about: object = None) -> None:
    """Say once per process what a user should know although it is no error, unless KIM_TORCHML_QUIET is on.

    All ranks of a run have the same model and the same settings: the first speaks for all.

    Args:
        rank: This process's rank.
        message: What to say.
        about: What it is about, hashable: two models may have files of one name.
    """
    if not settings.is_quiet():
        _warn(rank, message, about)


def warn_of_rank(rank: Rank, message: str, about: object = None) -> None:
    """Say once per process what is true of this rank alone, unless KIM_TORCHML_QUIET is on; see `warn`."""
    if not settings.is_quiet() and _is_new(message, about):
        write_line(f"[kim-torchml{_tag(rank)}] warning: {message}")


def advise(rank: Rank, message: str, about: object = None) -> None:
    """Say once per process what a user can do for more speed, unless KIM_TORCHML_QUIET is on; see `warn`."""
    if not settings.is_quiet() and not rank.rank and _is_new(message, about):
        write_line(f"[kim-torchml{_tag(rank)}] note: {message}")


def tell(rank: Rank, text: str) -> None:
    """Say what the user has asked for, however often; a text of several lines is written in one piece."""
    write_line(f"[kim-torchml{_tag(rank)}] {text}")


def warn_of_switches(rank: Rank) -> None:
    """Say once per process which switches have values that are neither on nor off, unless KIM_TORCHML_QUIET is on.

    What is wrong with KIM_TORCHML_QUIET itself is said even then: it may not have been meant to be on.
    """
    for name, reason in settings.doubtful_switches().items():
        if name == settings.QUIET or not settings.is_quiet():
            _warn(rank, f"{reason}; correct or unset it")


def _warn(rank: Rank, message: str, about: object = None) -> None:
    if not rank.rank and _is_new(message, about):
        write_line(f"[kim-torchml{_tag(rank)}] warning: {message}")


def _is_new(message: str, about: object = None) -> bool:
    with _lock:
        is_new = (about, message) not in _said
        _said.add((about, message))
        return is_new


def _tag(rank: Rank) -> str:
    return "" if rank.rank is None else f" rank {rank.rank}"
