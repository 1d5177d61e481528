# SPDX-License-Identifier: LGPL-2.1-or-later
"""A rank's place among the others, as read from the variables of every launcher."""

import pytest

from kim_torchml.errors import DriverError
from kim_torchml.process.rank import Rank, find_rank

# The variables that each launcher sets for rank 5 of 8 on two nodes.
LAUNCHERS = {
    "Open MPI": (
        "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=4"
    ),
    "MPICH with Hydra": "PMI_RANK=5 PMI_SIZE=8 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=4",
    "Intel MPI": "PMI_RANK=5 PMI_SIZE=8 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=4 I_MPI_RANK=5",
    "MVAPICH2": "MV2_COMM_WORLD_RANK=5 MV2_COMM_WORLD_LOCAL_RANK=1 MV2_COMM_WORLD_LOCAL_SIZE=4 MV2_COMM_WORLD_SIZE=8",
    "Slurm": "SLURM_PROCID=5 SLURM_LOCALID=1 SLURM_NTASKS=32 SLURM_STEP_TASKS_PER_NODE=4(x2) SLURM_STEP_NUM_TASKS=8",
    "PALS": "PALS_RANKID=5 PALS_LOCAL_RANKID=1 PALS_LOCAL_SIZE=4 PMI_SIZE=8",
}


def variables(text):
    return dict(setting.split("=") for setting in text.split())


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_launcher(launcher):
    assert find_rank(variables(LAUNCHERS[launcher])) == Rank(rank=5, local_rank=1, local_size=4, size=8)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_launcher_in_this_process(launcher, monkeypatch):
    for name, value in variables(LAUNCHERS[launcher]).items():
        monkeypatch.setenv(name, value)
    assert find_rank().local_rank == 1


def test_no_launcher():
    assert find_rank({"HOME": "/root"}) == Rank(rank=None, local_rank=0, local_size=1, size=1)


@pytest.mark.parametrize("inner", ["Open MPI", "MPICH with Hydra", "Intel MPI", "MVAPICH2"])
def test_mpirun_within_a_slurm_job(inner):
    job = variables("SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_STEP_TASKS_PER_NODE=1")
    assert find_rank(job | variables(LAUNCHERS[inner])) == Rank(rank=5, local_rank=1, local_size=4, size=8)


@pytest.mark.parametrize(
    ("tasks", "node", "size"), [("3", 0, 3), ("2(x3),1", 0, 2), ("2(x3),1", 2, 2), ("2(x3),1", 3, 1), ("1,4", 1, 4)]
)
def test_slurm_says_how_many_tasks_each_node_has(tasks, node, size):
    job = variables(f"SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID={node} SLURM_STEP_TASKS_PER_NODE={tasks}")
    assert find_rank(job).local_size == size


def test_slurm_without_a_step():
    """A batch script is one process, however many the job is for."""
    batch = find_rank(variables("SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=8"))
    assert batch == Rank(rank=0, local_rank=0, local_size=1, size=1)


def test_there_are_at_least_the_ranks_that_are_known_to_be_there():
    alone = variables("SLURM_PROCID=7 SLURM_LOCALID=3")
    assert find_rank(alone) == Rank(rank=7, local_rank=3, local_size=4, size=8)
    node = variables("OMPI_COMM_WORLD_LOCAL_RANK=0 OMPI_COMM_WORLD_LOCAL_SIZE=6")
    assert find_rank(node) == Rank(rank=None, local_rank=0, local_size=6, size=6)
    assert find_rank(node | {"OMPI_COMM_WORLD_SIZE": "2"}).size == 6


def test_a_launcher_that_tells_no_local_rank():
    assert find_rank(variables("PMI_RANK=0 PMI_SIZE=8")) == Rank(rank=None, local_rank=0, local_size=1, size=8)


def test_a_size_without_its_launcher():
    """A variable of a size alone may be left from anywhere."""
    assert find_rank(variables("PMI_SIZE=8 SLURM_STEP_NUM_TASKS=8 OMPI_COMM_WORLD_SIZE=8")).size == 1


def test_a_size_that_is_no_number():
    message = "the environment variable PMI_SIZE must be a number, got 'many'; the MPI launcher sets it"
    with pytest.raises(DriverError, match=message):
        find_rank(variables("PMI_RANK=0 MPI_LOCALRANKID=0 PMI_SIZE=many"))


@pytest.mark.parametrize("value", ["", "x", "-1"])
def test_a_variable_that_is_no_number(value):
    message = (
        rf"the environment variable OMPI_COMM_WORLD_LOCAL_RANK must be a number, got '{value}'; the MPI launcher "
        "sets it: unset it if there is none"
    )
    with pytest.raises(DriverError, match=message):
        find_rank({"OMPI_COMM_WORLD_LOCAL_RANK": value})
