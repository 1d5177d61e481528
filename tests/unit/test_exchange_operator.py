# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operator `kim_torchml::exchange`: a copy where nothing is exchanged, and else what other ranks have."""

import importlib.util
import shutil
import threading

import pytest
import torch
from exchanging_networks import Alone, Backward, ChosenAtRunTime, Frugal, InBranch, InLoop, Passing
from exporting import exported_bytes
from models import script_bytes
from program_files import inputs_of, layered_program, needs_export, opened, signature_of
from refusals import refused

from kim_torchml.engines import CompiledProgram, open_program, prepared
from kim_torchml.engines import exchange as exchange_module
from kim_torchml.engines.exchange import exchanging
from kim_torchml.engines.exported.compiled.entry import CacheEntry
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs
from kim_torchml.process import settings

CPU = torch.device("cpu")
# Rows that other ranks own, and the rows that they are copies of.
N_OWN, OWNERS = 9, torch.tensor([4, 0, 7, 4])


class Copies:
    """Exchanges rows within one process: the last rows are copies of others."""

    n_own = N_OWN

    def __init__(self):
        self.threads = {"forward": [], "backward": []}

    def forward(self, rows):
        assert rows.is_contiguous()
        self.threads["forward"].append(threading.get_ident())
        if self.n_own == N_OWN:
            rows[N_OWN:] = rows[OWNERS]

    def backward(self, rows):
        assert rows.is_contiguous()
        self.threads["backward"].append(threading.get_ident())
        if self.n_own == N_OWN:
            rows[:N_OWN].index_add_(0, OWNERS, rows[N_OWN:].clone())
            rows[N_OWN:] = 0.0


def folded(seed=3):
    """Return inputs in which no row is a copy."""
    return inputs_of(N_OWN, 60, seed=seed)


def with_copies(inputs):
    """Return the same inputs for a rank that has copies of some rows: some neighbours are those."""
    species, edge_index, vectors = inputs.arguments
    centres, neighbours = edge_index
    for place, owner in enumerate(OWNERS.tolist()):
        neighbours = torch.where((neighbours == owner) & (centres % 4 == place), N_OWN + place, neighbours)
    assert (neighbours >= N_OWN).sum() > 3
    # Without an exchange what is in these rows would be wrong: their species is another.
    rows = torch.cat([species, 1 - species[OWNERS]])
    leaf = vectors.detach().clone().requires_grad_(True)
    arguments = (rows, torch.stack([centres, neighbours]), leaf)
    return ModelInputs(arguments, leaf, len(rows), slice(0, N_OWN), None, len(leaf))


def scripted(kind):
    return open_program(script_bytes(kind), "x.pt", CPU, signature_of())


def exported(kind):
    return opened(exported_bytes(kind))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A compiled program, which takes a minute to make."""
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler (g++)")
    content = exported_bytes(Frugal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.CACHE, str(tmp_path_factory.mktemp("exchange") / "cache"))
        # So small a network may be faster as it is.
        patch.setattr(CacheEntry, "speed_up_with", lambda entry, threads: 2.0)
        choice = prepared(opened(content), content, signature_of(), "Frugal", settings.NOW, lambda progress: None)
    assert isinstance(choice.program, CompiledProgram), choice
    return choice.program


@pytest.fixture(params=[(scripted, Passing), (scripted, Frugal),
                        *(pytest.param((exported, each), marks=needs_export) for each in (Passing, Frugal)),
                        pytest.param(("compiled", Frugal), marks=needs_export)],
                ids=lambda each: f"{getattr(each[0], '__name__', each[0])}-{each[1].__name__}")  # fmt: skip
def program(request):
    way, kind = request.param
    return request.getfixturevalue(way) if way == "compiled" else way(kind)


def check_same(found, expected):
    torch.testing.assert_close(found.energies[:N_OWN], expected.energies[:N_OWN], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-12, atol=1e-12)


def test_it_is_a_copy_where_nothing_is_exchanged(program):
    found, expected = (each.run(folded(), wants_gradient=True) for each in (program, scripted(Alone)))
    assert program.n_exchanges == 3
    check_same(found, expected)


def test_copies_get_what_their_owners_have(program):
    """A rank with copies gives what a system without them does, in energies and their derivatives."""
    inputs, expected, copies = with_copies(folded()), scripted(Alone).run(folded(), wants_gradient=True), Copies()
    with exchanging(copies):
        found = program.run(inputs, wants_gradient=True)
    check_same(found, expected)
    assert copies.threads["forward"] == [threading.get_ident()] * 3
    # What goes into the first exchange does not depend on positions.
    assert len(copies.threads["backward"]) == 2
    forgotten = program.run(inputs, wants_gradient=True)
    assert (forgotten.energies[:N_OWN] - expected.energies).abs().max() > 1e-3


def test_a_lone_row(program):
    expected = scripted(Alone).run(inputs_of(1, 0), wants_gradient=True).energies
    copies = Copies()
    copies.n_own = 1
    for carrier in (None, copies):
        with exchanging(carrier):
            found = program.run(inputs_of(1, 0), wants_gradient=True)
        torch.testing.assert_close(found.energies, expected, rtol=1e-12, atol=1e-12)
        assert found.gradient.shape == (0, 3)
    # Native code has not been given up.
    assert not getattr(program, "_has_failed", False)


def test_rows_of_others_are_computed_for_none():
    rows = []

    class Counting(Frugal):
        def layer(self, features, mix, edge_index, weights):
            rows.append(torch.ops.kim_torchml.own_rows(features))
            return super().layer(features, mix, edge_index, weights)

    inputs = with_copies(folded())
    with exchanging(Copies()):
        energies = Counting().double()(*inputs.arguments)
    assert [len(each) for each in rows] == [N_OWN] * 3
    assert (energies[N_OWN:] == 0.0).all()
    assert (energies[:N_OWN] != 0.0).all()


def test_other_threads_exchange_nothing(program):
    results = []

    def run():
        results.append(program.run(folded(), wants_gradient=True))

    with exchanging(Copies()):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    check_same(results[0], scripted(Alone).run(folded(), wants_gradient=True))


def test_what_an_exchange_raises_comes_out(program):
    class Failing(Copies):
        def backward(self, rows):
            raise DriverError("another rank has failed")

    inputs = with_copies(folded())
    with exchanging(Failing()), pytest.raises(DriverError, match="another rank has failed"):
        program.run(inputs, wants_gradient=True)


def test_the_operators_as_torch_wants_them():
    x = torch.rand(4, 3, dtype=torch.float64).t().requires_grad_(True)
    torch.library.opcheck(torch.ops.kim_torchml.exchange.default, (x,))
    torch.library.opcheck(torch.ops.kim_torchml.own_rows.default, (x,))
    torch.library.opcheck(torch.ops.kim_torchml.all_rows.default, (x, 7))
    y = torch.ops.kim_torchml.exchange(x)
    assert y.data_ptr() != x.data_ptr()
    assert y.is_contiguous()
    torch.testing.assert_close(y, x)


def test_another_copy_of_the_package_uses_the_same_operator():
    """In a Python host, the driver's own copy may be imported beside that of the host's environment."""
    spec = importlib.util.spec_from_file_location("another_copy", exchange_module.__file__)
    copy = importlib.util.module_from_spec(spec)
    copies, inputs = Copies(), with_copies(folded())
    program = scripted(Passing)
    spec.loader.exec_module(copy)
    expected = scripted(Alone).run(folded(), wants_gradient=True)
    for each in (copy.exchanging, exchanging):
        with each(copies):
            check_same(program.run(inputs, wants_gradient=True), expected)
    assert len(copies.threads["forward"]) == 6


@pytest.mark.parametrize("kind", [InBranch, InLoop, ChosenAtRunTime])
def test_scripts_that_may_exchange_more_or_less_often_are_refused(kind):
    with pytest.raises(
        DriverError,
        match=r"the model in x\.pt must call kim_torchml::exchange outside of branches and loops, got it in one: ranks "
        r"could wait for each other for ever; call it once before each layer",
    ):
        scripted(kind)


def test_the_operator_of_the_backward_pass_is_none_for_files():
    with pytest.raises(DriverError, match="uses the operator kim_torchml::exchange_backward: models may use only"):
        scripted(Backward)
    program = layered_program(1)
    program.nodes[0]["target"] = "torch.ops.kim_torchml.exchange_backward.default"
    refused(program.content(), "uses 'torch.ops.kim_torchml.exchange_backward.default', which is not among")
