# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which ranks compute one system together: what is known for certain, and nothing else."""

import sys
from array import array
from types import SimpleNamespace

import pytest

from kim_torchml.errors import DriverError
from kim_torchml.process import communicator as communicators
from kim_torchml.process import settings
from kim_torchml.process.communicator import (
    Communicator,
    OtherRankError,
    find_communicator,
    partition_sizes,
)
from kim_torchml.process.rank import Rank

SEVERAL = Rank(rank=5, local_rank=5, local_size=8, size=8)


class Group:
    """MPI's communicators as far as they are used; these tests have no MPI."""

    def __init__(self, members=tuple(range(8)), tag=None):
        self.members, self.tag = members, tag
        self.rank, self.size = members.index(5), len(members)
        # Names as MPI has them.
        vars(self).update(
            Dup=lambda: Group(self.members),
            Get_group=lambda: SimpleNamespace(Incl=tuple),
            Create_group=Group,
            Set_errhandler=lambda handler: setattr(self, "handler", handler),
        )


@pytest.fixture
def found(monkeypatch):
    """Return what is known where this process was started with some words."""
    mpi = SimpleNamespace(COMM_WORLD=Group(), ERRORS_RETURN="errors return")
    monkeypatch.setattr(communicators, "_mpi", lambda: (mpi, ""))
    communicators._found.cache_clear()

    def find(command, word=None):
        monkeypatch.setattr(communicators, "_command_line", command.split)
        if word is not None:
            monkeypatch.setenv(settings.COMMUNICATOR, word)
        return find_communicator(SEVERAL)

    yield find
    communicators._found.cache_clear()


def members(found):
    assert found.why_not == ""
    assert found.communicator._communicator.handler == "errors return"
    return found.communicator._communicator.members


@pytest.mark.parametrize("program", ["lmp", "/usr/bin/lmp", "lmp_mpi", "lammps", "lmp-29Sep21", "lmp.exe"])
def test_lammps_computes_with_all_ranks(found, program):
    assert members(found(f"{program} -in in.lammps")) == tuple(range(8))


@pytest.mark.parametrize("program", ["python3", "/opt/plmp/bin/mylmp", "lmpython", "vasp", ""])
def test_other_programs_are_not_known(found, program):
    other = found(program)
    assert other.communicator is None
    name = program.split("/")[-1] or "this program"
    assert other.why_not == (
        f"whether they compute one system is known of LAMMPS' own program alone, not of {name}; if all of them do, set "
        "KIM_TORCHML_COMMUNICATOR=world"
    )


def test_the_user_says_that_all_ranks_compute_one_system(found):
    assert members(found("python3 md.py -p 4", "World")) == tuple(range(8))


def test_the_user_says_that_none_wait(found):
    assert found("lmp", "none") == communicators.FoundCommunicator(None)


def test_another_word_is_an_error(found):
    with pytest.raises(
        DriverError,
        match="the environment variable KIM_TORCHML_COMMUNICATOR must be auto, world or none, got 'all'; correct or",
    ):
        found("lmp", "all")


def test_one_rank_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(communicators, "_mpi", None)
    assert find_communicator(Rank(None, 0, 1, 1)) == communicators.FoundCommunicator(None)


def test_partitions(found):
    partition = found("lmp -partition 2x2 4 -in in.lammps")
    assert members(partition) == (4, 5, 6, 7)
    assert (partition.communicator.rank, partition.communicator.size) == (1, 4)
    # Groups of one world that are made at the same time have tags of their own.
    assert partition.communicator._communicator.tag == 2


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        ("lmp -in x", None),
        ("lmp -p 8x2 4 5 -in x", [2] * 8 + [4, 5]),
        ("lmp -partition 3", [3]),
        ("lmp -partition 1x1 -in 2x2", [1]),
        ("lmp -partition", []),
    ],
)
def test_partition_sizes(words, sizes):
    assert partition_sizes(words.split()) == sizes


@pytest.mark.parametrize("words", ["lmp -p 2x2", "lmp -partition", "lmp -partition 9"])
def test_partitions_that_do_not_fit(found, words):
    with pytest.raises(DriverError, match=r"command line must have 8 ranks together, got [049]; correct -partition"):
        found(words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("lmp -mpicolor 3", "LAMMPS shares MPI's world with other programs (-mpicolor)"),
        ("lmp -mdi x", "LAMMPS shares MPI's world with other programs (-mdi)"),
        ("lmp -p 4x2 -reorder nth 2", "LAMMPS deals out the ranks of partitions in another order (-reorder)"),
    ],
)
def test_what_is_not_known_of_lammps(found, words, reason):
    assert found(words) == communicators.FoundCommunicator(None, reason)


def test_ranks_in_another_order_are_the_same_ranks(found):
    assert members(found("lmp -reorder nth 2")) == tuple(range(8))


def test_without_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert communicators._mpi() == (
        None,
        f"this Python has no mpi4py; install it beside kim-torchml: {sys.executable} -m pip install mpi4py",
    )


def test_with_the_mpi_of_nobody(monkeypatch):
    mpi = SimpleNamespace(
        Is_initialized=lambda: False, Is_finalized=lambda: False, Get_library_version=lambda: "MPICH 4\nof today"
    )
    package = SimpleNamespace(MPI=mpi, rc=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mpi4py", package)
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    found, why_not = communicators._mpi()
    assert found is None
    assert why_not.startswith("mpi4py works with an MPI that nobody has started here (MPICH 4): the simulator has")
    assert vars(package.rc) == {"initialize": False, "finalize": False, "errors": "default"}


@pytest.mark.parametrize(
    ("others_say", "is_failure", "is_so"),
    [(0, True, None), (7, True, None), (8, True, None), (9, False, False), (10, False, True)],
)
def test_what_is_sent(others_say, is_failure, is_so):
    """Of eight ranks this one is number 5. A failed rank says its number, or 8 if it has failed because of another."""

    def allreduce(place, numbers, op):
        assert (place, numbers.typecode, op) == ("in place", "q", "least")
        # Ranks that have failed say nothing of what others do.
        numbers[:] = array("q", map(min, numbers, [others_say, *(2 * [2**62] if others_say < 9 else [0, 0])]))

    group = Group()
    group.Allreduce = allreduce
    ranks = Communicator(SimpleNamespace(IN_PLACE="in place", MIN="least", ERRORS_RETURN="errors return"), group)
    if is_failure:
        with pytest.raises(OtherRankError, match="another rank has failed, and says why"):
            ranks.all_are(True)
    else:
        assert ranks.all_are(True) is is_so
        assert ranks.all_are(False) is False
    assert ranks.is_failure_known is is_failure
    ranks.begin()
    assert not ranks.is_failure_known
    assert ranks.fail() is (others_say > 5)
    assert ranks.fail(is_cause=False) is False
    assert ranks.is_failure_known
