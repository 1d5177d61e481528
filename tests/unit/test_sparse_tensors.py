# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sparse tensors that a model makes: indices beyond their sizes are an error; then torch's setting is the host's."""

import threading

import pytest
import torch
from models import script_bytes
from torch import Tensor, nn

from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.engines.torchscript.sparse_tensors import checked_sparse_tensors
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs

CPU = torch.device("cpu")
is_checked = torch.sparse.check_sparse_tensor_invariants.is_enabled


class Coordinate(nn.Module):
    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return torch.sparse_coo_tensor(index[None], x, [3]).to_dense().sum()


class CompressedRows(nn.Module):
    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        rows = torch.arange(index.numel() + 1, device=x.device)
        return (
            torch.sparse_csr_tensor(rows, index, x, [index.numel(), 3], dtype=x.dtype) @ torch.ones_like(x[:, None])
        ).sum()


class CompressedColumns(nn.Module):
    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        columns = torch.arange(index.numel() + 1, device=x.device)
        return torch.sparse_csc_tensor(columns, index, x, [3, index.numel()], dtype=x.dtype).to_dense().sum()


class InASubmodule(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = Coordinate()

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return self.part(x, index) if index.numel() > 0 else x.sum()


class WithoutAny(nn.Module):
    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return x[index].sum()


KINDS = [Coordinate, CompressedRows, CompressedColumns, InASubmodule]


def run(program, index):
    x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    inputs = ModelInputs((x, torch.tensor(index)), x, 3, slice(0, 3), None, 1)
    return program.run(inputs, wants_gradient=False).energies.item()


@pytest.fixture(autouse=True)
def off():
    """Begin each test with torch's default, and end it so."""
    assert not is_checked()
    yield
    torch.sparse.check_sparse_tensor_invariants.disable()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("far", [3, 10**12, -1])
@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta state")
def test_an_index_beyond_the_size_is_an_error(kind, far):
    program = TorchScriptProgram(script_bytes(kind), "x.pt", CPU)
    with pytest.raises(DriverError, match=r"^the model in x\.pt raised an error: .*(size|ind|0 <=)"):
        run(program, [0, 1, far])
    assert not is_checked()
    assert run(program, [0, 2, 1]) == 7.0
    assert not is_checked()


def test_a_model_without_any_leaves_the_setting_alone(monkeypatch):
    program = TorchScriptProgram(script_bytes(WithoutAny), "x.pt", CPU)
    monkeypatch.setattr(torch.sparse.check_sparse_tensor_invariants, "enable", None)
    assert run(program, [0, 1, 1]) == 5.0


def test_what_the_host_has_asked_for_stays():
    torch.sparse.check_sparse_tensor_invariants.enable()
    assert run(TorchScriptProgram(script_bytes(Coordinate), "x.pt", CPU), [0, 1, 2]) == 7.0
    assert is_checked()


def test_the_last_of_several_threads_ends_it():
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with checked_sparse_tensors(True):
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    assert entered.wait(10)
    with checked_sparse_tensors(True):
        pass
    assert is_checked()
    leave.set()
    other.join()
    assert not is_checked()
