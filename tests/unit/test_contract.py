# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract of inputs, engines and evaluation: signatures, the derivative that counts, and rows of particles."""

import signal
import threading

import numpy as np
import pytest
import torch
from misbehaving import Failing
from models import PARAMETERS, Graph2, PairOfAll, PairOfContributing, PairTotal, script_bytes
from opening import assert_close, compute
from particles import cluster, interleaved
from stateful import InSlice
from torch import Tensor, nn

from kim_torchml.engines import ENGINES
from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.evaluation.probe_configurations import FEW, probe_particles
from kim_torchml.inputs import ModelInputs
from kim_torchml.model_files.model_toml import MODEL_SUFFIXES
from kim_torchml.model_files.parameter_file import MODEL_SUFFIX

CPU = torch.device("cpu")


def assert_fits(inputs, signature, dtype):
    """Compare tensors with what is said of them; a word stands for the same size wherever it occurs."""
    sizes = {}
    assert len(inputs.arguments) == len(signature.arguments)
    for tensor, argument in zip(inputs.arguments, signature.arguments, strict=True):
        assert tensor.dtype is (argument.dtype or dtype), argument.name
        assert tensor.is_contiguous(), argument.name
        assert tensor.dim() == len(argument.sizes), argument.name
        for found, said in zip(tensor.shape, argument.sizes, strict=True):
            assert found == (said if isinstance(said, int) else sizes.setdefault(said, found)), argument.name


@pytest.mark.parametrize("kind", PARAMETERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_what_the_signature_says(kind, dtype, opened):
    model = opened(script_bytes(kind, dtype=dtype), **PARAMETERS[kind])
    built = model._inputs.build(probe_particles(FEW, model.cutoff), dtype, CPU)
    signature = model._inputs.signature
    assert_fits(built, signature, dtype)
    names = [argument.name for argument in signature.arguments]
    assert built.arguments[names.index(signature.leaf)] is built.leaf
    assert signature.returns_forces is PARAMETERS[kind].get("returns_forces", False)


class Weighted(nn.Module):
    """Energies of rows with a factor each, in shapes and types as networks return them."""

    factors: Tensor

    def __init__(self, columns=False, energy=torch.float64):
        super().__init__()
        self.register_buffer("factors", torch.tensor([2.0, 3.0, 5.0, 7.0]))
        self.columns = columns
        self.energy = energy

    def forward(self, x: Tensor) -> Tensor:
        energies = (self.factors[:, None] * x.square()).sum(1).to(self.energy)
        return energies[:, None] if self.columns else energies


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("energy", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [slice(0, 2), torch.tensor([True, False, False, True])], ids=["first", "mixed"])
def test_only_contributing_rows_are_differentiated(columns, energy, rows):
    """A model of single precision may return its energies in double precision."""
    program = TorchScriptProgram(script_bytes(Weighted, torch.float32, columns=columns, energy=energy), "x.pt", CPU)
    leaf = torch.arange(12, dtype=torch.float32).reshape(4, 3).requires_grad_(True)
    result = program.run(ModelInputs((leaf,), leaf, 4, rows, None, 1), wants_gradient=True)
    counts = torch.zeros(4)
    counts[rows] = 1.0
    expected = 2.0 * (counts * torch.tensor([2.0, 3.0, 5.0, 7.0]))[:, None] * leaf.detach()
    assert torch.equal(result.gradient, expected)
    assert result.gradient.dtype is torch.float32
    assert result.energies.shape == ((4, 1) if columns else (4,))
    assert result.forces is None
    for tensor in (result.energies, result.gradient):
        assert not tensor.requires_grad


class OfEdges(nn.Module):
    """Energies of three rows from vectors of edges: the leaf has another length than the energies."""

    def forward(self, centre: Tensor, vectors: Tensor) -> Tensor:
        return torch.zeros(3, dtype=vectors.dtype).index_add(0, centre, vectors.square().sum(1))


def test_a_leaf_of_another_length_than_the_rows():
    program = TorchScriptProgram(script_bytes(OfEdges), "x.pt", CPU)
    centre = torch.tensor([0, 0, 1, 1, 2, 2])
    vectors = torch.arange(18, dtype=torch.float64).reshape(6, 3).requires_grad_(True)
    result = program.run(ModelInputs((centre, vectors), vectors, 3, slice(0, 2), None, 6), wants_gradient=True)
    expected = 2.0 * vectors.detach()
    expected[4:] = 0.0
    assert torch.equal(result.gradient, expected)


def test_no_gradient_where_none_is_wanted():
    program = TorchScriptProgram(script_bytes(Weighted, torch.float32), "x.pt", CPU)
    leaf = torch.ones(4, 3, requires_grad=True)
    assert program.run(ModelInputs((leaf,), leaf, 4, slice(0, 4), None, 1), wants_gradient=False).gradient is None


@pytest.mark.parametrize("kind", [PairTotal, PairOfContributing, PairOfAll, Graph2])
def test_energies_of_particles_that_do_not_contribute_have_no_force(kind, opened):
    """What such particles are given by a model that returns energies of all is rubbish with a gradient."""
    configuration = interleaved(cluster(12, 3.4, n_contributing=6))
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    found = compute(model, configuration, ["partialForces", "partialEnergy"])
    step, moved = 1e-5, configuration.coordinates.copy()
    moved[3, 1] += step
    energy = compute(model, configuration.moved(moved), ["partialEnergy"])["partialEnergy"][0]
    slope = (energy - found["partialEnergy"][0]) / step
    assert found["partialForces"][3, 1] == pytest.approx(-slope, abs=2e-4)


def test_rows_are_added_to_their_particles():
    """Two rows of one particle, as an owner and its image; a row beyond the particles' counts for none."""
    of_rows = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    inputs = ModelInputs((), of_rows, 4, slice(0, 2), torch.tensor([1, 0, 1]), 1)
    assert inputs.by_particle(of_rows, 2).tolist() == [[2.0], [5.0]]


def test_zeros_keep_their_sign_on_the_way_to_particles():
    rows = torch.tensor([[-0.0], [0.0]])
    values = ModelInputs((), rows, 2, slice(0, 2), torch.tensor([1, 0]), 1).by_particle(rows, 2)
    assert np.signbit(values.numpy()).tolist() == [[False], [True]]


class KeptEnergies(nn.Module):
    """Returns what it keeps: the next call changes it."""

    kept: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(4, dtype=torch.float64), persistent=False)
        self.register_buffer("one", torch.ones(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.kept.copy_(x.detach().sum(1))
        return self.kept


def test_results_are_the_callers_own():
    program = TorchScriptProgram(script_bytes(KeptEnergies), "x.pt", CPU)

    def run(value):
        leaf = torch.full((4, 3), value, dtype=torch.float64)
        return program.run(ModelInputs((leaf,), leaf, 4, slice(0, 4), None, 1), wants_gradient=True).energies

    first = run(1.0)
    run(2.0)
    assert first.tolist() == [3.0] * 4


def test_a_signal_handler_may_compute_in_the_thread_that_it_has_interrupted(opened, monkeypatch):
    """With a model that keeps results, whose lock the thread holds."""
    model, configuration = opened(script_bytes(InSlice)), cluster(8)
    expected = compute(model, configuration)
    sent, handled = [], []

    def handle(number, frame):
        del number, frame
        handled.append(compute(model, configuration))

    def forward(arguments, plain=model._program._forward):
        if not sent:
            sent.append(signal.SIGALRM)
            signal.raise_signal(signal.SIGALRM)
        return plain(arguments)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        monkeypatch.setattr(model._program, "_forward", forward)
        found = compute(model, configuration)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert handled
    for result in (found, handled[0]):
        assert_close(result, expected)


def test_a_call_that_fails_leaves_the_lock_free():
    program = TorchScriptProgram(script_bytes(Failing), "x.pt", CPU)
    program._lock = threading.Lock()
    tensors = tuple(torch.ones(4, 3, dtype=torch.float64) for _ in range(5))
    with pytest.raises(Exception, match=r"^the model in x\.pt raised an error"):
        program.run(ModelInputs(tensors, tensors[1], 4, slice(0, 4), None, 1), wants_gradient=True)
    assert not program._lock.locked()


def test_every_suffix_of_model_files_has_an_engine():
    assert set(ENGINES) == set(MODEL_SUFFIXES)
    assert MODEL_SUFFIX in ENGINES
