# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which models exchange features between ranks, what they send, and what is refused."""

import numpy as np
import pytest
import torch
from exchanging_networks import Alone, Forgetful, Passing, Rounded, RoundedAlone, WithoutDerivative
from models import script_bytes
from opening import open_model
from program_files import inputs_of
from ranks_in_threads import on_ranks

from kim_torchml.driver.edges_choice import chosen_inputs
from kim_torchml.driver.row_exchange import RowExchange
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.exchange_probe import fault_of_exchange
from kim_torchml.inputs.joint import JointRows
from kim_torchml.process import settings
from kim_torchml.process.communicator import FoundCommunicator
from kim_torchml.process.rank import Rank

FOUR = Rank(rank=1, local_rank=1, local_size=4, size=4)
RANKS = FoundCommunicator("ranks that are known")
UNKNOWN = FoundCommunicator(None, "this Python has no mpi4py; install it")
ASKED = {"kind": "Edges", "n_layers": 3}


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a model of three layers as one process has it."""
    monkeypatch.setenv(settings.EDGES, "staged")

    def open_network(kind):
        return open_model(tmp_path, script_bytes(kind), elements=("Si", "Ge"), cutoff=4.0, **ASKED)._opened

    return open_network


@pytest.fixture
def chosen(opened, monkeypatch):
    """Return what is chosen for a network on four ranks."""
    model = opened(Passing)

    def choose(word, others=RANKS, n_exchanges=2, rank=FOUR):
        monkeypatch.setenv(settings.EDGES, word)
        return chosen_inputs(model.inputs, rank, others, n_exchanges)

    return choose


@pytest.mark.parametrize("word", ["auto", "exchange"])
def test_ranks_that_can_exchange_do(chosen, word):
    found = chosen(word)
    assert found.why_staged == ""
    assert found.kind.ranks == RANKS.communicator
    assert found.kind.influence_distance == 4.0
    assert not found.kind.needs_noncontributing_neighbours
    assert found.kind.way == "3 layers, exchanged between ranks"


@pytest.mark.parametrize(
    ("others", "n_exchanges", "reason"),
    [
        (UNKNOWN, 2, "this Python has no mpi4py; install it"),
        (FoundCommunicator(None), 2, "MPI's world is this process alone, whatever its launcher says"),
        (RANKS, 0, "the model never calls torch.ops.kim_torchml.exchange; docs/parallel.md says which converted"),
        # What is missing is no help to a model that cannot exchange.
        (UNKNOWN, 0, "the model never calls torch.ops.kim_torchml.exchange; docs/parallel.md says which converted"),
    ],
)
def test_others_are_staged_with_the_reason(chosen, others, n_exchanges, reason):
    found = chosen("auto", others, n_exchanges)
    assert found.kind.ranks is None
    assert found.kind.influence_distance == 12.0
    assert found.why_staged.startswith(reason)
    with pytest.raises(
        DriverError, match="ranks must exchange features, as KIM_TORCHML_EDGES=exchange asks, but "
    ) as error:
        chosen("exchange", others, n_exchanges)
    assert reason in str(error.value)


def test_others_are_staged_where_the_user_says_so(chosen, monkeypatch):
    monkeypatch.setenv(settings.COMMUNICATOR, "none")
    reason = "KIM_TORCHML_COMMUNICATOR says that they do not compute together"
    assert chosen("auto", FoundCommunicator(None)).why_staged == reason


def test_one_rank_folds(chosen):
    found = chosen("exchange", FoundCommunicator(None), rank=Rank(None, 0, 1, 1))
    assert found.kind.is_folded
    assert found.kind.ranks is None


def test_staged_is_staged_without_a_word(chosen):
    assert chosen("staged").why_staged == ""
    assert chosen("staged").kind.ranks is None


def test_folded_is_an_error(chosen):
    with pytest.raises(DriverError, match="must be auto, exchange or staged where several processes share the system"):
        chosen("folded")


def test_a_sound_model_passes_the_probe(opened):
    model = opened(Passing)
    assert fault_of_exchange(model.program, model.inputs) == ""


@pytest.mark.parametrize(("kind", "n_calls"), [(Forgetful, 2), (Alone, 0)])
def test_a_model_that_forgets_an_exchange_is_found(opened, kind, n_calls):
    model = opened(kind)
    fault = fault_of_exchange(model.program, model.inputs)
    assert fault.startswith(
        "the model in model.pt must give the same where rows are copies that torch.ops.kim_torchml.exchange fills, got "
        "energies or forces that differ by "
    )
    assert f"(it calls that {n_calls} times for 3 layers); call it on what each layer but the first gathers" in fault


def test_the_probe_of_single_precision(tmp_path, monkeypatch):
    monkeypatch.setenv(settings.EDGES, "staged")
    content = script_bytes(Passing, dtype=torch.float32)
    model = open_model(tmp_path, content, elements=("Si", "Ge"), cutoff=4.0, dtype="float32", **ASKED)._opened
    assert fault_of_exchange(model.program, model.inputs) == ""


@pytest.mark.parametrize(("kind", "is_sound"), [(Rounded, True), (RoundedAlone, False)])
def test_the_probe_of_a_model_that_converts_to_its_own_type(tmp_path, monkeypatch, kind, is_sound):
    monkeypatch.setenv(settings.EDGES, "staged")
    content = script_bytes(kind, dtype=torch.float32)
    model = open_model(tmp_path, content, elements=("Si", "Ge"), cutoff=4.0, dtype="float64", **ASKED)._opened
    with pytest.raises(DriverError, match=r"the model in model\.pt raised an error"):
        model.program.in_double_precision().run(inputs_of(9, 60), wants_gradient=False)
    assert (fault_of_exchange(model.program, model.inputs) == "") == is_sound


def test_derivatives_that_are_no_numbers_are_found(opened):
    model = opened(WithoutDerivative)
    assert "got energies or forces that differ by nan" in fault_of_exchange(model.program, model.inputs)


# Rows of three ranks, of which the last has none of its own: own ones, and copies of others' by (rank, row).
OWN = [3, 4, 0]
COPIES = [[(1, 0), (1, 3)], [(0, 2), (0, 1), (0, 0)], []]


def rows_of(rank):
    given = [[row for other, row in COPIES[taker] if other == rank] for taker in range(3)]
    n_taken = np.bincount([other for other, _ in COPIES[rank]], minlength=3)
    return JointRows(
        OWN[rank],
        np.zeros(0, dtype=np.int64),
        np.zeros(OWN[rank] + len(COPIES[rank]), dtype=np.int64),
        np.array([row for each in given for row in each], dtype=np.int64),
        np.array([len(each) for each in given]),
        n_taken,
        np.array(OWN),
    )


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.bfloat16, 0.02), (torch.float32, 1e-5), (torch.float64, 1e-13)], ids=str
)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_features_go_to_copies_and_derivatives_come_back(shape, dtype, rounding):
    def run(ranks):
        random = torch.Generator().manual_seed(ranks.rank)
        rows = rows_of(ranks.rank)
        x, y = (torch.rand(rows.n_rows, *shape, dtype=dtype, generator=random) for _ in range(2))
        forward, backward = x.clone(), y.clone()
        exchange = RowExchange(rows, ranks)
        exchange.forward(forward)
        exchange.backward(backward)
        return x, y, forward, backward

    found = on_ranks(3, run)
    for rank, (x, _, forward, backward) in enumerate(found):
        torch.testing.assert_close(forward[: OWN[rank]], x[: OWN[rank]], rtol=0, atol=0)
        for place, (other, row) in enumerate(COPIES[rank]):
            torch.testing.assert_close(forward[OWN[rank] + place], found[other][0][row], rtol=0, atol=0)
        assert not backward[OWN[rank] :].any()
    # One is the transpose of the other.
    through = sum(float((forward.double() * y.double()).sum()) for _, y, forward, _ in found)
    back = sum(float((x.double() * backward.double()).sum()) for x, _, _, backward in found)
    assert through == pytest.approx(back, rel=rounding)


def test_some_of_the_ranks():
    rows = rows_of(0).among(np.array([True, True, False]))
    assert rows.n_taken.tolist() == [0, 2]
    assert rows.n_given.tolist() == [0, 3]
    assert rows.n_own_of_ranks.tolist() == [3, 4]
