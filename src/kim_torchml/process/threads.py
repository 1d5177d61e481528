# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many CPU threads torch works with in this process."""

import os

import torch

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.rank import Rank


def choose_threads(rank: Rank, cores: int) -> int:
    """Return the number of CPU threads for this process.

    It is the number of cores divided by that of the node's ranks, and at most what OMP_NUM_THREADS says: threads that
    share a core are several times slower than one thread.

    Args:
        rank: This process's rank.
        cores: Cores this process may run on.
    Returns:
        At least 1.
    Raises:
        DriverError: If OMP_NUM_THREADS is set and is not a number.
    """
    threads = max(cores // rank.local_size, 1)
    limit = os.environ.get("OMP_NUM_THREADS", "").strip()
    if limit:
        # OpenMP allows a list, one number per nesting level.
        threads = min(threads, _positive("OMP_NUM_THREADS", limit.split(",")[0]))
    return threads


def set_threads(rank: Rank, process_is_ours: bool) -> None:
    """Set torch's number of threads, in a host's Python only where KIM_TORCHML_THREADS asks for it."""
    requested = os.environ.get(settings.THREADS, "").strip()
    if requested:
        torch.set_num_threads(_positive(settings.THREADS, requested))
    elif process_is_ours:
        torch.set_num_threads(choose_threads(rank, len(os.sched_getaffinity(0))))


def _positive(name: str, value: str) -> int:
    count = settings.count_of(value)
    if count is None:
        raise DriverError(f"the environment variable {name} must be a whole number, 1 or more, got '{value}'")
    return count
