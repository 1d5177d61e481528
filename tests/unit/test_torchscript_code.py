# SPDX-License-Identifier: LGPL-2.1-or-later
"""Code in a model that reaches outside the model is refused in every disguise, before any of it runs.

Loading a TorchScript file runs the code of `__setstate__`, and calling the model runs that of `forward`. Each disguise
is put in both places. The tests first show that torch alone does write the file, so that they can fail.
"""

import io

import pytest
import torch
from archives import CALLING, LOADING, Stateful, members, renamed, with_line, with_two_directories, zip_of
from models import PairTotal, script_bytes
from torch import Tensor, nn

from kim_torchml.engines.torchscript.archive import inspect_archive
from kim_torchml.engines.torchscript.forbidden import check_operator
from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.errors import DriverError

CPU = torch.device("cpu")

# Each of these lines writes the file PATH.
SAVING = {
    "called": 'torch.save(coordinates, "PATH")',
    "spaced": 'torch . save (coordinates, "PATH")',
    "continued": 'torch.\\\n      save(coordinates, "PATH")',
    "in brackets": '(torch.\n      save)(coordinates, "PATH")',
    "alias of torch": 't = torch\n    t.save(coordinates, "PATH")',
    "alias of the function": 'f = torch.save\n    f(coordinates, "PATH")',
    "ops": 'ops.aten.save(coordinates, "PATH")',
    "alias of ops": 'o = ops\n    o.aten.save(coordinates, "PATH")',
    "alias of aten": 'a = ops.aten\n    a.save(coordinates, "PATH")',
    "getattr": 'getattr(torch, "save")(coordinates, "PATH")',
    "getattr, single quotes": "getattr(torch, 'save')(coordinates, \"PATH\")",
    "getattr, triple quotes": 'getattr(torch, """save""")(coordinates, "PATH")',
    "getattr, octal": 'getattr(torch, "sa\\166e")(coordinates, "PATH")',
    "getattr, joined": 'getattr(torch, "sa" "ve")(coordinates, "PATH")',
    "getattr, joined lines": 'getattr(torch, ("s"\n      "ave"))(coordinates, "PATH")',
    "getattr of ops": 'getattr(ops, "aten").save(coordinates, "PATH")',
    "getattr of getattr": 'getattr(getattr(ops, "aten"), "save")(coordinates, "PATH")',
    "of a list": 'torch.save([coordinates], "PATH")',
    "never called": 'if False:\n      torch.save(coordinates, "PATH")',
}
OTHER = {
    "from_file": 'x = torch.from_file("PATH", None, 3)',
    "from_file, method": 'x = coordinates.from_file("PATH")',
    "from_file, octal": 'x = getattr(torch, "from\\137file")("PATH", None, 3)',
    "another namespace": 'x = ops.image.read_file("PATH")',
    "alias of another namespace": 'o = ops\n    x = o.image.read_file("PATH")',
    "getattr of another namespace": 'x = getattr(ops, "image").read_file("PATH")',
    "getattr from another namespace": 'x = getattr(ops.image, "read_file")("PATH")',
    "the network": "x = ops.c10d.barrier(coordinates)",
    "raw memory": "x = ops.inductor._reinterpret_tensor(coordinates, [9], [1], 1000)",
    "C++'s own stdout": 'torch._print("PATH")',
}


@pytest.fixture
def target(tmp_path):
    """Return the path of the file that the model tries to write, and check after the test that it is not there."""
    path = tmp_path / "written"
    yield path
    assert not path.exists()


def refused(content, message):
    with pytest.raises(DriverError, match=message):
        inspect_archive(content, "x.pt")
    with pytest.raises(DriverError, match=message):
        TorchScriptProgram(content, "x.pt", CPU)


def loading(line, path):
    return with_line(line.replace("coordinates", "(state)[0]").replace("PATH", str(path)))


def calling(line, path):
    return with_line(line.replace("PATH", str(path)), instead=CALLING)


@pytest.mark.parametrize("name", [name for name in SAVING if name != "never called"])
def test_torch_itself_would_write_the_file(name, tmp_path):
    torch.jit.load(io.BytesIO(loading(SAVING[name], tmp_path / "loaded")))
    assert (tmp_path / "loaded").is_file()
    module = torch.jit.load(io.BytesIO(calling(SAVING[name], tmp_path / "called")))
    assert not (tmp_path / "called").exists()
    module(*(torch.ones(3) for _ in range(5)))
    assert (tmp_path / "called").is_file()


@pytest.mark.parametrize("place", [loading, calling])
@pytest.mark.parametrize("name", SAVING)
def test_saving_is_refused_before_loading(name, place, target):
    message = r"(aten::save, which touches files: a model must not; it has not been run|must name operators as ops\.n)"
    refused(place(SAVING[name], target), rf"file x\.pt \(code/__torch__/archives\.py, line \d+\) .*{message}")


@pytest.mark.parametrize("place", [loading, calling])
@pytest.mark.parametrize("name", OTHER)
def test_other_ways_out_are_refused_before_loading(name, place, target):
    message = r"(uses the operator (aten|image|c10d|inductor)::|must name operators as ops\.namespace\.name)"
    refused(place(OTHER[name], target), rf"file x\.pt \(code/__torch__/archives\.py, line \d+\) .*{message}")


def test_the_message_says_where(target):
    content = loading("torch.save(coordinates, 'PATH')", target)
    code = next(entry for name, entry in members(content).items() if name.endswith(".py")).decode()
    line = 1 + code[: code.index("torch.save")].count("\n")
    refused(content, rf"file x\.pt \(code/__torch__/archives\.py, line {line}\) uses the operator aten::save")


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("/code/", "/CODE/"),
        lambda name: name.removesuffix(".py") + ".PY" if name.endswith(".py") else name,
        lambda name: name.replace("archives.py", "ARCHIVES.py"),
    ],
)
def test_names_of_entries_in_another_case(change, target, tmp_path):
    line = "torch.save(coordinates, 'PATH')"
    torch.jit.load(io.BytesIO(renamed(loading(line, tmp_path / "loaded"), change)))
    assert (tmp_path / "loaded").is_file()
    refused(renamed(loading(line, target), change), "aten::save, which touches files")


def test_a_file_that_shows_other_code_to_other_readers(target, tmp_path):
    harmless = loading("x = torch.sin(coordinates)", target)
    assert TorchScriptProgram(harmless, "x.pt", CPU).n_inputs == 5
    line = "torch.save(coordinates, 'PATH')"
    content = with_two_directories(harmless, loading(line, tmp_path / "loaded"))
    assert members(content) == members(harmless)
    torch.jit.load(io.BytesIO(content))
    assert (tmp_path / "loaded").is_file()
    refused(with_two_directories(harmless, loading(line, target)), "aten::save, which touches files|is damaged")


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sum(x)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), Inner()])

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        for layer in self.layers:
            coordinates = layer(coordinates)
        return coordinates


def forked(x: Tensor) -> Tensor:
    return torch.sum(x)


class Forking(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(forked, coordinates))


class Exporting(nn.Module):
    """A model with a method that forward does not call."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return coordinates.mean()

    @torch.jit.export
    def other(self, x: Tensor) -> Tensor:
        return torch.sum(x)


@torch.jit.script
class Helper:
    def __init__(self, x: Tensor):
        self.x = x

    def total(self) -> Tensor:
        return torch.sum(self.x)


class UsingAClass(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return Helper(coordinates).total()


PLACES = {"submodule": Outer, "fork": Forking, "method": Exporting, "class": UsingAClass}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("disguise", ["called", "getattr, octal"])
def test_code_in_other_places(place, disguise, target):
    kind = PLACES[place]
    model = TorchScriptProgram(script_bytes(kind), "x.pt", CPU)
    assert model.n_inputs == 5
    line = SAVING[disguise].replace("coordinates", "x").replace("PATH", str(target))
    content = with_line(line, instead="return torch.sum(x)", kind=kind)
    torch.jit.load(io.BytesIO(content))
    refused(content, "aten::save, which touches files")


def test_graphs_are_checked_too(target, monkeypatch):
    """What the check of the code misses, the check of the loaded graphs still finds before the first call."""
    monkeypatch.setattr("kim_torchml.engines.torchscript.program.inspect_archive", lambda content, name: frozenset())
    for kind in PLACES.values():
        content = with_line(f'torch.save(x, "{target}")', instead="return torch.sum(x)", kind=kind)
        with pytest.raises(DriverError, match=r"file x\.pt uses the operator aten::save, which touches files"):
            TorchScriptProgram(content, "x.pt", CPU)


def test_blocks_of_graphs_are_checked_too(target, monkeypatch):
    """The operator stands in a loop, in a branch that is not taken."""
    monkeypatch.setattr("kim_torchml.engines.torchscript.program.inspect_archive", lambda content, name: frozenset())
    line = f'for i in range(2):\n      if torch.gt(torch.dim(x), 7):\n        torch.save(x, "{target}")'
    content = with_line(line, instead="return torch.sum(x)", kind=Outer)
    with pytest.raises(DriverError, match=r"file x\.pt uses the operator aten::save, which touches files"):
        TorchScriptProgram(content, "x.pt", CPU)


class Innocent(nn.Module):
    """A model with names that only look dangerous."""

    def __init__(self):
        super().__init__()
        self.save_energy = 2.0
        self.ops_count = 3

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, save: Tensor) -> Tensor:
        from_file = coordinates * self.save_energy
        kept = {"saved": from_file, "don't": from_file}
        return kept["saved"].sum() + self.ops_count


def test_innocent_names_are_accepted():
    assert TorchScriptProgram(script_bytes(Innocent), "x.pt", CPU).n_inputs == 5


def test_operators_of_the_packages_are_returned():
    line = "x = ops.torch_scatter.scatter_min(coordinates, state, 0, None, 3)\n    y = ops.torch_sparse.ptr2ind(x, 3)"
    assert inspect_archive(calling(line, ""), "x.pt") == {"torch_scatter::scatter_min", "torch_sparse::ptr2ind"}


@pytest.mark.parametrize("operator", ["aten::sum", "prim::Print", "torch_scatter::scatter_sum", "prim::CallMethod"])
def test_operators_that_are_allowed(operator):
    check_operator(operator, "file x.pt")


@pytest.mark.parametrize("operator", ["image::read_file", "c10d::barrier", "inductor::alloc", "_test::leaky", "my::op"])
def test_operators_of_unknown_namespaces(operator):
    with pytest.raises(DriverError, match=rf"model file x\.pt uses the operator {operator}: models may use only"):
        check_operator(operator, "file x.pt")


def test_data_beside_the_code_is_no_code():
    content = script_bytes(PairTotal)
    extra = zip_of([*members(content).items(), ("archive/extra/notes.py", b"torch.save(x, 'y')")])
    assert inspect_archive(extra, "x.pt") == inspect_archive(content, "x.pt")


def test_printing_while_loading_goes_to_stderr(capfd):
    TorchScriptProgram(with_line('print("loading")', instead=LOADING, kind=Stateful), "x.pt", CPU)
    assert capfd.readouterr() == ("", "loading\n")
