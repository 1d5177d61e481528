# SPDX-License-Identifier: LGPL-2.1-or-later
"""The MPI rank of this process, from the variables that its launcher has set."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kim_torchml.errors import DriverError


@dataclass(frozen=True)
class Rank:
    """A process's place among those that were launched together.

    Attributes:
        rank: Rank in the whole run, or None where no launcher is known.
        local_rank: Rank among the processes on this node; 0 where no launcher is known.
        local_size: Number of processes on this node; 1 where no launcher is known.
        size: Number of all processes that were launched together; 1 where nothing tells of others.
    """

    rank: int | None
    local_rank: int
    local_size: int
    size: int


@dataclass(frozen=True)
class _Launcher:
    """Names of the variables that a launcher sets; see `Rank`."""

    rank: str
    local_rank: str
    local_size: str
    size: str


# The launcher nearest to the process comes first: under mpirun in a Slurm job, the variables of both are set. The size
# is that of what was launched together: SLURM_NTASKS is the job's, also in a batch script that runs one process.
# kim_driver_cpp/report.cpp has a table of the same launchers for errors before Python runs.
_LAUNCHERS = {
    "Open MPI": _Launcher(
        "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_SIZE"
    ),
    "MVAPICH": _Launcher(
        "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_SIZE"
    ),
    "MPICH, Hydra, Intel MPI": _Launcher("PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_SIZE"),
    "PALS (Cray)": _Launcher("PALS_RANKID", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE", "PMI_SIZE"),
    "Slurm": _Launcher("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"),
}


def find_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """Return this process's rank.

    Args:
        environment: Environment variables.
    Returns:
        The rank; alone on its node where no launcher is known.
    Raises:
        DriverError: If a launcher's variable is not a number.
    Source:
        Documentation of Open MPI, MVAPICH2, MPICH (Hydra), Intel MPI, HPE PALS and Slurm (srun).
    """
    for launcher in _LAUNCHERS.values():
        if launcher.local_rank in environment:
            return _rank_of(launcher, environment)
    # A launcher that tells no local rank (Flux, with PMI's variables) may still tell that there are several processes.
    told = [each for each in _LAUNCHERS.values() if each.rank in environment and each.size in environment]
    return Rank(
        rank=None, local_rank=0, local_size=1, size=max([1, *(_number(environment, each.size) for each in told)])
    )


def _rank_of(launcher: _Launcher, environment: Mapping[str, str]) -> Rank:
    """Return the rank that a launcher tells of; there are at least the processes that its other variables imply."""
    local_rank = _number(environment, launcher.local_rank)
    rank = _number(environment, launcher.rank) if launcher.rank in environment else None
    local_size = _local_size(environment, launcher.local_size) if launcher.local_size in environment else 1
    local_size = max(local_size, local_rank + 1)
    size = _number(environment, launcher.size) if launcher.size in environment else 1
    return Rank(rank, local_rank, local_size, max(size, local_size, 0 if rank is None else rank + 1))


def _local_size(environment: Mapping[str, str], name: str) -> int:
    """Return this node's number of processes.

    Slurm lists all nodes: "2(x3),1" means 2 processes on each of three nodes, and 1 on the last.
    """
    entries = environment[name].split(",")
    if len(entries) == 1:
        return _number(environment, name)
    node = _number(environment, "SLURM_NODEID") if "SLURM_NODEID" in environment else 0
    sizes: list[int] = []
    for entry in entries:
        match = re.fullmatch(r"\s*(\d+)(?:\(x(\d+)\))?\s*", entry)
        if match is None:
            return _number(environment, name)
        sizes.extend([int(match.group(1))] * int(match.group(2) or 1))
    return sizes[min(node, len(sizes) - 1)]


def _number(environment: Mapping[str, str], name: str) -> int:
    match = re.match(r"\s*(\d+)", environment[name])
    if match is None:
        raise DriverError(
            f"the environment variable {name} must be a number, got '{environment[name]}'; the MPI launcher "
            "sets it: unset it if there is none"
        )
    return int(match.group(1))
