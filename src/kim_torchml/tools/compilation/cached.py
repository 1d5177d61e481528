# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in the user's cache of compiled programs, for people."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.engines import Cache, CacheEntry, why_not_here
from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import digest_of
from kim_torchml.process import settings
from kim_torchml.tools.compilation.compile_model import EXPORTED_SUFFIX
from kim_torchml.tools.kim_collections.kim_api import Item
from kim_torchml.tools.kim_collections.libraries import unpack_model
from kim_torchml.tools.model_store.listing import needed_from_store
from kim_torchml.tools.programs.temporary_folder import temporary_folder
from kim_torchml.tools.request_error import RequestError


@dataclass(frozen=True)
class CachedProgram:
    """An entry of the cache.

    Attributes:
        folder: its folder.
        model: SHA-256 of the model file that it was made of.
        name: name of the model; "?" where that cannot be read, and so for the other texts.
        device: type of device.
        dtype: type of its floating inputs.
        speed_ups: how many times faster it is than the program itself, by number of threads; empty where that cannot
            be read.
        size: bytes of its files.
        made: when it was made, s since 1970; 0 where that cannot be read.
        problem: why it is not run here; empty where it is.
    """

    folder: Path
    model: str
    name: str
    device: str
    dtype: str
    speed_ups: dict[int, float]
    size: int
    made: float
    problem: str

    @property
    def short_key(self) -> str:
        """The beginning of its key, which stands for it in lists and commands."""
        return self.folder.name[:12]


def user_cache() -> Cache:
    """Return this user's cache.

    Raises:
        DriverError: If it has no place, or must not be used.
    """
    cache = Cache(settings.cache_folder())
    if reason := cache.why_not_usable():
        raise DriverError(f"the cache of compiled programs {cache.folder} is not used: {reason}")
    return cache


def cached_programs(cache: Cache) -> list[CachedProgram]:
    """Return what is in a cache."""
    return [_described(*each) for each in cache.entries()]


def named(found: Sequence[CachedProgram], word: str) -> list[CachedProgram]:
    """Return what a word stands for: all of a name, or the one whose key begins with it.

    Raises:
        RequestError: If that is nothing, or may be several models.
    """
    of_name = [each for each in found if each.name == word]
    # What a simulator has compiled has the name of the model file, which many models share.
    if Path(word).suffix == EXPORTED_SUFFIX and len({each.model for each in of_name}) > 1:
        keys = " or ".join(each.short_key for each in of_name)
        raise RequestError(f"'{word}' is a file name that several models have; name one by its key: {keys}")
    of_key = [each for each in found if word and each.folder.name.startswith(word)]
    if not of_name and len(of_key) > 1:
        raise RequestError(f"'{word}' is the beginning of {len(of_key)} keys; write more of it")
    if not of_name and not of_key:
        raise RequestError(f"nothing compiled has the name or key '{word}'; `kim-torchml cache` lists both")
    return of_name or of_key


def size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder, which somebody may be changing."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def cached_programs_of(item: Item, environment: Mapping[str, str]) -> list[CachedProgram]:
    """Return what is in the user's cache of an installed model, in whichever collection or folder it was compiled.

    Raises:
        DriverError: If the model, or the cache, cannot be read.
    """
    with temporary_folder("kim-torchml-cache-") as folder:
        library = unpack_model(item, folder, environment)
        digests = {digest_of((folder / name).read_bytes()) for name in library.files if name.endswith(EXPORTED_SUFFIX)}
        digests.add(needed_from_store(library))
    return [each for each in cached_programs(user_cache()) if each.model in digests]


def _described(folder: Path, entry: CacheEntry | None, problem: str) -> CachedProgram:
    size = size_of(folder)
    if entry is None:
        return CachedProgram(folder, "?", "?", "?", "?", {}, size, 0.0, problem)
    key = entry.key
    return CachedProgram(
        folder,
        key.model,
        entry.name,
        key.device,
        key.dtype,
        entry.facts.speed_ups,
        size,
        entry.made,
        problem or why_not_here(key),
    )
