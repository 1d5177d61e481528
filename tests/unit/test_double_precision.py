# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program of single precision that computes in double precision is the one that its module would be, in double."""

import io

import pytest
import torch
from exporting import Splitting, exported_bytes
from models import Edges3
from program_files import CPU, inputs_of, needs_export, opened, signature_of
from torch import Tensor, nn

from kim_torchml.engines.torchscript.program import open_torchscript

SINGLE, DOUBLE = torch.float32, torch.float64


class Casting(nn.Module):
    """Says types in every way that programs have: casts, new tensors, sums of a type, types by position."""

    factors: Tensor

    def __init__(self, dtype=SINGLE):
        super().__init__()
        self.dtype = dtype
        self.register_buffer("factors", torch.tensor([0.3, 0.7]))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        n = species.shape[0]
        lengths = (edge_vectors.square() + 1e-3).sum(1, dtype=self.dtype).sqrt()
        strengths = self.factors[species].to(self.dtype) + species.to(self.dtype) / 3
        sums = torch.full((n,), 0.1, dtype=self.dtype).index_add(0, edge_index[0], torch.exp(-lengths))
        return sums * strengths + torch.ones_like(strengths) * torch.linspace(0, 1, 7, dtype=self.dtype).square().sum()


class CastingToDouble(Casting):
    def __init__(self):
        super().__init__(DOUBLE)


def exported(kind, dtype):
    return opened(exported_bytes(kind, dtype), dtype)


def scripted(kind, dtype):
    """Return the same module as a TorchScript file."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(kind().float().to(dtype).eval()), buffer)
    return open_torchscript(buffer.getvalue(), "x.pt", CPU, signature_of(dtype))


PAIRS = [
    pytest.param(exported, Splitting, Splitting, marks=needs_export),
    pytest.param(exported, Casting, CastingToDouble, marks=needs_export),
    pytest.param(scripted, Edges3, Edges3),
]


@pytest.mark.parametrize(("program_of", "kind", "in_double"), PAIRS)
def test_it_is_the_module_in_double(program_of, kind, in_double):
    program = program_of(kind, SINGLE)
    found, twin = program.in_double_precision(), program_of(in_double, DOUBLE)
    assert (program.dtype, found.dtype) == (SINGLE, DOUBLE)
    assert {each.dtype for each in found.tensors().values()} == {DOUBLE}
    inputs = inputs_of(23, 506, DOUBLE, contributing=20)
    result, expected = (each.run(inputs, wants_gradient=True) for each in (found, twin))
    for one, other in ((result.energies, expected.energies), (result.gradient, expected.gradient)):
        assert one.dtype is DOUBLE
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("program_of", "kind", "in_double"), PAIRS)
def test_the_program_itself_stays_as_it_was(program_of, kind, in_double):
    program = program_of(kind, SINGLE)
    inputs = inputs_of(23, 506, SINGLE)
    before = program.run(inputs, wants_gradient=True)
    copied = program.in_double_precision()
    for tensor in copied.tensors().values():
        tensor.zero_()
    after = program.run(inputs, wants_gradient=True)
    assert torch.equal(after.energies, before.energies)
    assert torch.equal(after.gradient, before.gradient)
    assert after.energies.dtype is SINGLE
    assert {each.dtype for each in program.tensors().values()} == {SINGLE}


@needs_export
def test_integers_and_truth_values_stay():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("numbers", torch.tensor([1, 14]))
            self.register_buffer("are_heavy", torch.tensor([False, True]))

        def forward(self, species, edge_index, edge_vectors):
            squares = edge_vectors.square().sum(1)
            heavy = torch.where(self.are_heavy, self.numbers, 0)[species].to(edge_vectors.dtype)
            return heavy.index_add(0, edge_index[0], squares)

    tensors = exported(Counting, SINGLE).in_double_precision().tensors()
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {"numbers": torch.int64, "are_heavy": torch.bool}
