# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where one of several ranks fails, all of them end, whatever they wait for; one says why."""

import threading

import numpy as np
import pytest
import torch
from exchanging_networks import Passing
from ranks_in_threads import on_ranks

from kim_torchml.driver.joint_compute import JointCompute
from kim_torchml.inputs.joint import JointRows
from kim_torchml.process import communicator
from kim_torchml.process.communicator import DifferentRanksError, OtherRankError, agreed

N_OWN = [2, 1, 0]


def rows_of(rank):
    """Return rows of three ranks: the first two have a copy of the other's first row, the last has nothing."""
    n_own = N_OWN[rank]
    n_copied = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])[rank]
    return JointRows(
        n_own,
        np.zeros(0, dtype=np.int64),
        np.zeros(n_own + n_copied.sum(), dtype=np.int64),
        np.zeros(n_copied.sum(), dtype=np.int64),
        n_copied,
        n_copied,
        np.array(N_OWN),
    )


def raises(error):
    raise error


def check(found, failing, message):
    """Check that a rank has raised its own error, and that all others know no more than that."""
    assert str(found[failing]) == message
    assert not isinstance(found[failing], OtherRankError)
    for rank, each in enumerate(found):
        if rank != failing:
            assert isinstance(each, OtherRankError)
            assert str(each).startswith("another rank has failed, and says why")


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize(
    "others_do",
    [
        lambda ranks: None,
        lambda ranks: ranks.all_are(True),
        lambda ranks: [ranks.all_are(False), ranks.all_are(False)],
        lambda ranks: ranks.gathered(np.zeros(2)),
        lambda ranks: ranks.exchanged(np.zeros(3), np.ones(3, dtype=np.int64), np.ones(3, dtype=np.int64)),
        lambda ranks: ranks.among(ranks.rank == 1),
    ],
    ids=["end", "all", "not all", "gather", "exchange", "split"],
)
def test_others_learn_it_whatever_they_do(others_do, failing):
    def run(ranks):
        with agreed(ranks):
            raises(ValueError("mine")) if ranks.rank == failing else others_do(ranks)

    check(on_ranks(3, run), failing, "mine")


def test_the_first_of_several_says_why():
    def run(ranks):
        with agreed(ranks):
            if ranks.rank > 0:
                raise ValueError(f"mine is {ranks.rank}")

    found = on_ranks(4, run)
    check(found, 1, "mine is 1")
    assert str(found[0]) == "another rank has failed, and says why"
    assert str(found[3]) == "another rank has failed, and says why; this one has failed too: mine is 3"


def test_memory_that_one_rank_lacks_for_what_it_takes(monkeypatch):
    monkeypatch.setattr(communicator, "_MOST_BYTES", 2**62)

    def run(ranks):
        n_taken = np.array([2**55 if ranks.rank == 1 else 1, 1])
        with agreed(ranks):
            ranks.exchanged(np.zeros(2), np.ones(2, dtype=np.int64), n_taken)

    found = on_ranks(2, run)
    assert isinstance(found[1], MemoryError)
    check(found, 1, str(found[1]))


def test_more_bytes_than_mpi_counts():
    """The first rank alone would give more."""

    def run(ranks):
        with agreed(ranks):
            ranks.exchanged(np.zeros(1), np.array([2**28 if ranks.rank == 0 else 1, 0]), np.ones(2, dtype=np.int64))

    reason = (
        "ranks must send each other at most 2147483647 bytes at once, got 2147483648; simulate fewer atoms, or set "
        "KIM_TORCHML_EDGES=staged"
    )
    check(on_ranks(2, run), 0, reason)


def test_memory_that_one_rank_lacks_for_what_all_have(monkeypatch):
    allocate = np.empty

    def empty(shape, dtype):
        if threading.current_thread().name == "lacks memory":
            raise MemoryError("mine")
        return allocate(shape, dtype)

    def run(ranks):
        if ranks.rank == 1:
            threading.current_thread().name = "lacks memory"
        with agreed(ranks):
            ranks.gathered(np.zeros(2))

    monkeypatch.setattr(np, "empty", empty)
    check(on_ranks(3, run), 1, "mine")


def test_an_interrupt_stays_one():
    def run(ranks):
        with agreed(ranks):
            raises(ValueError("mine") if ranks.rank == 0 else KeyboardInterrupt())

    found = on_ranks(2, run)
    assert str(found[0]) == "mine"
    assert isinstance(found[1], KeyboardInterrupt)


def test_ranks_that_have_failed_go_on_together():
    def run(ranks):
        found = []
        for failing in (0, 1, None, 0):
            try:
                with agreed(ranks):
                    raises(ValueError("mine")) if ranks.rank == failing else ranks.check_all_well()
                found.append("")
            except Exception as error:
                found.append(str(error))
        return found

    other = "another rank has failed, and says why"
    assert on_ranks(2, run) == [["mine", other, "", "mine"], [other, "mine", "", other]]


def jointly(ranks, before, during):
    """Compute once, where only two of three ranks exchange features."""
    joint, rows = JointCompute(ranks), rows_of(ranks.rank)
    with agreed(ranks):
        before(ranks.rank)
        joint.take_part(rows)
        if rows.n_own:
            with joint.exchange(rows):
                during(ranks.rank, rows)


def exchange(rank, rows):
    features = torch.full((rows.n_rows, 1), float(rank), dtype=torch.float64)
    return torch.ops.kim_torchml.exchange(features)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_rank_that_fails_while_some_exchange(failing):
    def during(rank, rows):
        exchange(rank, rows)
        raises(ValueError("mine")) if rank == failing else exchange(rank, rows)

    check(on_ranks(3, lambda ranks: jointly(ranks, lambda rank: None, during)), failing, "mine")


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_rank_that_fails_before_some_exchange(failing):
    def before(rank):
        if rank == failing:
            raise ValueError("mine")

    check(on_ranks(3, lambda ranks: jointly(ranks, before, exchange)), failing, "mine")


class Skipping(torch.nn.Module):
    """Leaves a layer out where there are no edges: what it exchanges is not differentiated there."""

    def forward(self, features: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        energies = torch.zeros_like(features).sum(1) + edge_vectors.sum()
        exchanged = torch.ops.kim_torchml.exchange(features * edge_vectors.sum())
        if edge_index.shape[1] > 0:
            energies = energies + exchanged.sum(1)
        return energies


@pytest.mark.parametrize("without_edges", [0, 1])
def test_ranks_that_exchange_less_often_wait_for_none(without_edges):
    network = torch.jit.script(Skipping())

    def during(rank, rows):
        features = torch.ones(rows.n_rows, 2, dtype=torch.float64)
        n_edges = 0 if rank == without_edges else 2
        vectors = torch.ones(n_edges, 3, dtype=torch.float64, requires_grad=True)
        network(features, torch.zeros(2, n_edges, dtype=torch.int64), vectors).sum().backward()

    message = (
        "all ranks must exchange the same features equally often, got ranks that do not: a network must not leave out "
        "a layer where there are no edges; correct it, or set KIM_TORCHML_EDGES=staged"
    )
    found = on_ranks(3, lambda ranks: jointly(ranks, lambda rank: None, during))
    assert message in str(found[0])
    check(found, 0, str(found[0]))


def test_ranks_must_do_the_same():
    def run(ranks):
        with agreed(ranks):
            ranks.gathered(np.zeros((1, 2 if ranks.rank == 1 else 3)))

    found = on_ranks(3, run)
    assert isinstance(found[0], DifferentRanksError)
    check(found, 0, str(found[0]))


def test_torchscript_makes_another_error_of_what_an_exchange_raises():
    network = torch.jit.script(Passing())

    def during(rank, rows):
        if rank == 0:
            raise ValueError("mine")
        n = rows.n_rows
        edges = torch.zeros(2, n, dtype=torch.int64), torch.ones(n, 3, dtype=torch.float32)
        network(torch.zeros(n, dtype=torch.int64), *edges)

    check(on_ranks(3, lambda ranks: jointly(ranks, lambda rank: None, during)), 0, "mine")
