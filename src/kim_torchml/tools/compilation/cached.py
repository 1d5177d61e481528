# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in the user's cache of compiled programs, for people."""

from dataclasses import dataclass
from pathlib import Path

from kim_torchml.engines import Cache, CacheEntry, why_not_here
from kim_torchml.errors import DriverError
from kim_torchml.process import settings


@dataclass(frozen=True)
class CachedProgram:
    """An entry of the cache.

    Attributes:
        folder: its folder.
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
    name: str
    device: str
    dtype: str
    speed_ups: dict[int, float]
    size: int
    made: float
    problem: str


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


def _described(folder: Path, entry: CacheEntry | None, problem: str) -> CachedProgram:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if entry is None:
        return CachedProgram(folder, "?", "?", "?", {}, size, 0.0, problem)
    key = entry.key
    return CachedProgram(
        folder, entry.name, key.device, key.dtype, entry.facts.speed_ups, size, entry.made, problem or why_not_here(key)
    )
