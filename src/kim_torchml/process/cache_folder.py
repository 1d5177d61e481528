# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may write into the folder of compiled programs, and what lies there; nothing here needs torch.

It holds native code: whoever can write there can run code as its user.
"""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Entries are named by a SHA-256.
_NAME_LENGTH = 64
_ELSEWHERE = "run `export KIM_TORCHML_CACHE=~/kim-torchml-compiled`, or name another folder of yours there"
# What a cache holds: entries, locks, reports, and what is being made.
_OURS = re.compile(r"[0-9a-f]{64}(\.lock|\.log)?|unfinished-.*")
# Torch splits the compiler's command line as a shell does, and quotes no path in it.
_NOT_FOR_COMPILERS = re.compile(r"[\s'\"\\]")


@dataclass(frozen=True)
class CacheFlaw:
    """Why programs in a folder must not be run.

    Attributes:
        reason: what is wrong with the folder.
        remedy: what mends it, for the end of a sentence.
        command: shell command that mends it; empty where the folder cannot be mended.
    """

    reason: str
    remedy: str = _ELSEWHERE
    command: str = ""

    def __str__(self) -> str:
        """Return reason and remedy."""
        return f"{self.reason}; {self.remedy}"


def flaw_of(folder: Path) -> CacheFlaw | None:
    """Return why programs in a folder must not be run; None where they may be, or where there is no folder yet."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return CacheFlaw(f"it cannot be read ({error.strerror})")
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        remedy = f"run `rm {shlex.quote(str(folder))}`, or name another one in KIM_TORCHML_CACHE"
        return CacheFlaw("it must be a folder, not a link or a file", remedy)
    if found.st_uid != os.getuid():
        return CacheFlaw("it must belong to you")
    mend = f"chmod 700 {shlex.quote(str(folder))}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = "others can write there, and could put programs there"
        if _is_of_others_too(folder, found.st_mode):
            # Without the rights that it has, programs of others would fail.
            return CacheFlaw(reason, f"it is not for compiled programs alone: {_ELSEWHERE}")
        return CacheFlaw(reason, f"run `{mend}`", mend)
    if not os.access(folder, os.R_OK | os.X_OK):
        return CacheFlaw("you cannot look into it", f"run `{mend}`", mend)
    return None


def _is_of_others_too(folder: Path, mode: int) -> bool:
    """Return whether a folder is meant for more than a cache, as one for everybody's temporary files is."""
    if mode & stat.S_ISVTX or folder.is_mount():
        return True
    try:
        return not all(_OURS.fullmatch(each.name) for each in folder.iterdir())
    except OSError:
        return True


def why_nothing_compiles_in(folder: Path) -> str:
    """Return why a compiler cannot work in a folder by its path, or an empty string; what is there can be run."""
    if found := _NOT_FOR_COMPILERS.search(str(folder)):
        return (
            "the compiler's command line cannot take a path with a blank, a quote or a backslash, got "
            f"'{found[0]}' in '{folder}'"
        )
    return ""


def entry_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders of compiled programs by name, sound or not; none where there is no such folder."""
    if folder.exists():
        yield from sorted(each for each in folder.iterdir() if len(each.name) == _NAME_LENGTH)
