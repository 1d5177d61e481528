# SPDX-License-Identifier: LGPL-2.1-or-later
"""An entry of the cache: a folder with native code, and a file that says what that is and what it was made of."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.errors import shortened

FACTS = "entry.json"


@dataclass(frozen=True)
class CacheEntry:
    """A compiled program in the cache.

    Attributes:
        folder: the entry's folder.
        key: what it was made of and for.
        facts: what it turned out to be.
        digests: SHA-256 of each of its other files, by name.
        name: name of the model file or model that it was made for, for people.
        made: when it was made, s since 1970.
    """

    folder: Path
    key: Key
    facts: Facts
    digests: dict[str, str]
    name: str
    made: float

    def speed_up_with(self, threads: int) -> float:
        """Return how many times faster it was than the program run operator by operator, with a number of threads."""
        speed_ups = self.facts.speed_ups
        return speed_ups[max(number for number in speed_ups if number <= max(threads, 1))]

    def to_json(self) -> str:
        """Return all but the folder as text, with a digest of itself."""
        said = asdict(self)
        del said["folder"]
        return json.dumps({**said, "digest": _digest_of(said)}, indent=1)

    @classmethod
    def from_json(cls, folder: Path, text: str) -> "CacheEntry":
        """Return the entry in a folder that a text is.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: If it is none, or its digest is another.
        """
        said: dict[str, Any] = json.loads(text)
        if said.pop("digest") != _digest_of(said):
            raise ValueError("its digest is another")
        return cls(**{**said, "folder": folder, "key": Key(**said["key"]), "facts": Facts.from_dict(said["facts"])})

    @property
    def library(self) -> Path:
        """The file with the native code."""
        return self.folder / self.facts.library


def read_entry(folder: Path) -> tuple[CacheEntry | None, str]:
    """Return an entry as its file says, or why it cannot be read."""
    try:
        if folder.is_symlink():
            return None, "it is a link"
        entry = CacheEntry.from_json(folder, (folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, f"it has no {FACTS}"
    except OSError as error:
        return None, f"its {FACTS} cannot be read ({error.strerror})"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return None, f"its {FACTS} is damaged ({shortened(str(error), 80)})"
    is_sound = entry.facts.library in entry.digests
    return (entry, "") if is_sound else (None, f"its {FACTS} is damaged (no library)")


def _digest_of(said: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what JSON would have; it turns numbers that are keys to text."""
    as_read = json.loads(json.dumps(said))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def _why_of_others(path: Path) -> str:
    """Return why something may be another user's, or an empty string; what is not there is nobody's."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    # The rights of a link say nothing.
    is_open = not stat.S_ISLNK(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid != os.getuid() or is_open:
        return f"others can write {path.name}"
    return ""


def damage_of(entry: CacheEntry) -> str:
    """Return what is wrong with an entry's folder and files, or an empty string."""
    # What somebody has put there before the cache's rights were mended would run as its user.
    for path in (entry.folder, *(entry.folder / name for name in (FACTS, *entry.digests))):
        if reason := _why_of_others(path):
            return reason
    for name, digest in entry.digests.items():
        if Path(name).name != name:
            return f"its {FACTS} names a file elsewhere"
        path = entry.folder / name
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return f"its file {name} is none"
            if digest_of_file(path) != digest:
                return f"its file {name} is damaged"
        except OSError as error:
            return f"its file {name} cannot be read ({error.strerror})"
    return ""


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
