# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that compiles: which package it runs, and how close native code must be to the program."""

import dataclasses
import sys

import pytest
import torch
from exporting import exported_bytes
from models import Edges3
from program_files import needs_export, signature_of

from kim_torchml.engines import NotCompiledError
from kim_torchml.engines.exported.compiled import build, worker
from kim_torchml.engines.exported.compiled.request import CompileRequest

WORKER = """
import json, sys
import colorsys

def main(parent):
    sys.stdin.read()
    place = "from the package" if hasattr(colorsys, "FROM_THE_PACKAGE") else "from Python"
    print(json.dumps({"failed": f"{__file__}, colorsys {place}, first {sys.path[0]}", "is_explained": True}))
"""


def test_it_runs_the_package_of_this_process_and_nothing_else_of_its_folder(tmp_path, monkeypatch):
    """The folder of a driver's package is on sys.path while the package is imported, and not later."""
    folder = tmp_path / "kim_torchml" / "engines" / "exported" / "compiled"
    folder.mkdir(parents=True)
    for package in (folder, *list(folder.parents)[:3]):
        (package / "__init__.py").touch()
    (folder / "worker.py").write_text(WORKER)
    (tmp_path / "colorsys.py").write_text("FROM_THE_PACKAGE = True\n")
    monkeypatch.setattr(build, "_FOLDER_OF_PACKAGE", tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    request = CompileRequest.of("model.pt2", "model.pt2", str(tmp_path), torch.device("cpu"), signature_of())
    monkeypatch.setattr(sys, "path", ["", "/one", *sys.path])
    with pytest.raises(NotCompiledError) as caught:
        build._run_worker(request, scratch, lambda progress: None)
    assert str(caught.value) == f"{folder / 'worker.py'}, colorsys from Python, first /one"


class InSingle(torch.nn.Module):
    """Computes in single precision from vectors in double precision, as networks of NequIP may."""

    def __init__(self):
        super().__init__()
        self.register_buffer("exponents", torch.linspace(0.1, 3.0, 20, dtype=torch.float32, device="cpu"))

    def forward(self, species, edge_index, edge_vectors):
        squares = edge_vectors.square().sum(1, keepdim=True).to(torch.float32)
        of_edges = (-squares * self.exponents).exp().sum(1).to(torch.float64)
        return torch.zeros_like(species, dtype=torch.float64).index_add(0, edge_index[0], of_edges)


class NearlyParallel(torch.nn.Module):
    """Loses most digits of single precision, as angles of nearly parallel edges do."""

    def forward(self, species, edge_index, edge_vectors):
        of_edges = 1e3 * torch.acos(1.0 - 1e-6 * edge_vectors.square().sum(1))
        return torch.zeros_like(species, dtype=edge_vectors.dtype).index_add(0, edge_index[0], of_edges)


class Overflows(torch.nn.Module):
    """Has energies that are too large for single precision, and not for double precision."""

    def forward(self, species, edge_index, edge_vectors):
        of_edges = (1e30 * edge_vectors.square().sum(1)).square()
        return torch.zeros_like(species, dtype=edge_vectors.dtype).index_add(0, edge_index[0], of_edges)


class OffBy:
    """In the place of native code: what the program gives, and a little more."""

    relative = 0.0

    def __init__(self, program, *made):
        self._program = program

    def run(self, inputs, wants_gradient):
        found = self._program.run(inputs, wants_gradient)
        return dataclasses.replace(found, energies=found.energies * (1 + self.relative))


def request_of(folder, network, dtype):
    """Return a request to compile a network."""
    file = folder / "model.pt2"
    file.write_bytes(exported_bytes(network, dtype))
    return CompileRequest.of(str(file), file.name, str(folder), torch.device("cpu"), signature_of(dtype))


def check_compared(request, is_close):
    """Check that native code passes the comparison with its program, or is refused for its energies."""
    if is_close:
        assert worker.compile_program(request, lambda stage, part: None).library == worker.LIBRARY
        return
    with pytest.raises(NotCompiledError, match=r"its energies for .* differ by .* from those of the program itself"):
        worker.compile_program(request, lambda stage, part: None)


def compiled_as(monkeypatch, relative):
    """Let native code give what the program gives, and a little more."""
    monkeypatch.setattr(OffBy, "relative", relative)
    monkeypatch.setattr(worker, "CompiledProgram", OffBy)
    monkeypatch.setattr(worker, "_compiled", lambda exported, folder: folder / worker.LIBRARY)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)


@needs_export
@pytest.mark.parametrize(
    ("network", "relative", "is_close"),
    [(Edges3, 1e-12, True), (Edges3, 1e-7, False), (InSingle, 1e-7, True), (InSingle, 1e-3, False)],
)
def test_rounding_of_the_type_that_a_program_computes_in_is_allowed(network, relative, is_close, tmp_path, monkeypatch):
    """The type of the vectors that it takes may be another one."""
    compiled_as(monkeypatch, relative)
    check_compared(request_of(tmp_path, network, torch.float64), is_close)


@needs_export
def test_a_program_that_overflows_says_nothing_of_native_code(tmp_path, monkeypatch):
    request = request_of(tmp_path, Overflows, torch.float32)
    compiled_as(monkeypatch, 0.0)
    with pytest.raises(NotCompiledError, match=r"its energies for .* differ by nan from those of the program itself"):
        worker.compile_program(request, lambda stage, part: None)


@needs_export
@pytest.mark.parametrize(("relative", "is_close"), [(1e-3, True), (0.1, False)])
def test_a_program_that_rounds_much_by_itself_may_be_off_as_much(relative, is_close, tmp_path, monkeypatch):
    """In single precision the energy of an edge is wrong by 1 %."""
    compiled_as(monkeypatch, relative)
    check_compared(request_of(tmp_path, NearlyParallel, torch.float32), is_close)
