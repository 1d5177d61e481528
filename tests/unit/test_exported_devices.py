# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that were exported on a CPU run on the device that the model is opened for, whatever devices they name."""

import numpy as np
import pytest
import torch
from exporting import Splitting, exported_bytes
from models import PARAMETERS, Edges3
from opening import assert_close, compute, open_described, outputs_of
from particles import cluster, interleaved
from program_files import CPU, inputs_of, needs_export, signature_of
from test_memory_limits import full_gpu
from test_parameters import set_values
from torch import Tensor, nn

from kim_torchml.engines.exported.program import open_exported
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs

pytestmark = needs_export

SIZES = [(23, 506), (5, 17), (4, 0), (1, 0)]


class NamingDevices(nn.Module):
    """A network that makes tensors on the device of its author, which it names or leaves out, and moves tensors."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1.0, 1.0, 3))
        self.register_buffer("scales", torch.tensor([0.5, 1.5, 2.5]))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        n, dtype = species.shape[0], edge_vectors.dtype
        columns = torch.arange(3, device="cpu")
        kinds = torch.nn.functional.one_hot(species, 3).to("cpu", dtype)
        turned = edge_vectors.to("cpu") @ torch.eye(3, dtype=dtype, device=torch.device("cpu"))[columns]
        sums = torch.zeros([n, 3], dtype=dtype).index_add(0, edge_index[0], turned.square() * torch.tensor(0.5))
        shifted = sums + torch.full([n, 1], 0.25, dtype=dtype, device=edge_vectors.device)
        return (shifted.sin() * self.weight * self.scales + kinds * torch.ones(3, dtype=dtype, device="cpu")).sum(1)


PROGRAMS = {
    "float64": (Splitting, torch.float64, 1e-12),
    "float32": (Splitting, torch.float32, 1e-4),
    "three layers": (Edges3, torch.float64, 1e-12),
    "naming devices": (NamingDevices, torch.float64, 1e-12),
}


@pytest.fixture(params=PROGRAMS)
def program_file(request):
    """Return a program's file, the floating type of its inputs, and how far results on two devices may differ."""
    kind, dtype, tolerance = PROGRAMS[request.param]
    return exported_bytes(kind, dtype), dtype, tolerance


def opened_on(device, content, dtype=torch.float64):
    return open_exported(content, "x.pt2", device, signature_of(dtype))


def moved(inputs, device):
    """Return the same inputs on a device."""
    species, edge_index, vectors = (each.detach().to(device) for each in inputs.arguments)
    leaf = vectors.requires_grad_(True)
    return ModelInputs((species, edge_index, leaf), leaf, inputs.n_rows, inputs.contributing_rows, None, inputs.n_pairs)


def test_nothing_is_left_on_the_authors_device(program_file):
    """Tensors on the device meta have no values, and hardly an operator takes them together with others."""
    content, dtype, _ = program_file
    meta = torch.device("meta")
    program, inputs = opened_on(meta, content, dtype), moved(inputs_of(5, 17, dtype), meta)
    (energies,) = program._runner.run(program._stored.tensors, inputs.arguments)
    (gradient,) = torch.autograd.grad(energies.sum(), inputs.leaf)
    assert {each.device for each in (energies, gradient, *program._stored.tensors.values())} == {meta}


@pytest.mark.parametrize(("n", "n_edges"), SIZES)
def test_results_are_those_of_a_cpu(program_file, n, n_edges, device):
    content, dtype, tolerance = program_file
    program, reference = opened_on(device, content, dtype), opened_on(CPU, content, dtype)
    for contributing in (None, n // 2):
        inputs = inputs_of(n, n_edges, dtype, contributing=contributing)
        found = program.run(moved(inputs, device), wants_gradient=True)
        expected = reference.run(inputs, wants_gradient=True)
        for there, here in ((found.energies, expected.energies), (found.gradient, expected.gradient)):
            assert there.device == device
            assert there.dtype is here.dtype
            scale = max(1.0, here.abs().max().item()) if here.numel() else 1.0
            torch.testing.assert_close(there.cpu(), here, rtol=0, atol=tolerance * scale)


def test_all_that_a_program_holds_is_on_its_device(program_file, device):
    content, dtype, _ = program_file
    program = opened_on(device, content, dtype)
    held = [*program.tensors().values(), *program._stored.tensors.values(), *program._stored.stored.values()]
    assert {each.device for each in held} == {device}


def test_a_copy_with_other_weights(device):
    program = opened_on(device, exported_bytes(Splitting))
    inputs = moved(inputs_of(5, 17), device)
    before = program.run(inputs, wants_gradient=False).energies
    changed = program.with_tensors({"second.weight": 2.0 * program.tensors()["second.weight"].cpu()})
    # These are one tensor in the model.
    for name in ("second.weight", "tied.weight"):
        assert changed.tensors()[name].device == device
        assert torch.equal(changed.tensors()[name], 2.0 * program.tensors()[name])
    assert (changed.run(inputs, wants_gradient=False).energies - before).abs().max() > 1e-3
    torch.testing.assert_close(program.run(inputs, wants_gradient=False).energies, before, rtol=0, atol=1e-12)
    assert torch.equal(
        opened_on(CPU, changed.file_content(exported_bytes(Splitting))).tensors()["tied.weight"],
        changed.tensors()["tied.weight"].cpu(),
    )


@pytest.fixture
def opened_pt2(tmp_path, monkeypatch, device):
    """Return a function that opens a model folder with a .pt2 file on a device, by default the test's own."""

    def function(where=device):
        monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", str(where))
        parameters = {"species": ["Si", "C", "O"], "layers": PARAMETERS[Edges3]["n_layers"], "dtype": "float64"}
        parameters["tables"] = '[parameters]\nweight = "strength of messages"'
        return open_described(tmp_path / "model", exported_bytes(Edges3), "model.pt2", **parameters)

    return function


def test_the_driver_gives_what_it_gives_on_a_cpu(opened_pt2):
    configuration = interleaved(cluster(14, n_contributing=9, n_species=3))
    outputs = outputs_of(Edges3)
    expected = compute(opened_pt2(CPU), configuration, outputs)
    assert np.abs(expected["partialForces"]).max() > 1e-2
    assert_close(compute(opened_pt2(), configuration, outputs), expected)


def test_parameters_reach_the_device(opened_pt2):
    configuration = cluster(8)
    models = [opened_pt2(CPU), opened_pt2()]
    before = compute(models[0], configuration, ["partialEnergy"])["partialEnergy"][0]
    for model in models:
        set_values(model, "weight", [0.45])
    first, second = (compute(model, configuration) for model in models)
    assert abs(first["partialEnergy"][0] - before) > 1e-6
    assert_close(second, first)


@pytest.mark.cuda
def test_a_gpu_that_is_full(device):
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    content = exported_bytes(Splitting)
    program, inputs = opened_on(device, content), moved(inputs_of(5, 17), device)
    before = program.run(inputs, wants_gradient=False).energies
    with full_gpu(device):
        for call in (lambda: opened_on(device, content), lambda: program.run(inputs, wants_gradient=True)):
            with pytest.raises(MemoryError, match="CUDA out of memory"):
                call()
    torch.testing.assert_close(program.run(inputs, wants_gradient=False).energies, before, rtol=0, atol=1e-12)


def test_an_operator_that_fails_is_named(device):
    program = opened_on(device, exported_bytes(Splitting))
    species, edge_index, vectors = moved(inputs_of(5, 17), device).arguments
    short = ModelInputs((species, edge_index[:, :3], vectors), vectors, 5, slice(0, None), None, 17)
    with pytest.raises(DriverError, match=r"^the model in x\.pt2 raised an error in aten\.\w+\.\w+: "):
        program.run(short, wants_gradient=True)
