# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators that do not check their arguments are refused before the code runs; those that models use are not.

The code of a file is checked as text before it is loaded, and the loaded graphs are checked once more.
"""

import io

import pytest
import torch
from archives import CALLING, LOADING, Stateful, with_line
from fresh_python import run_python
from models import script_bytes
from test_torchscript_code import PLACES
from torch import Tensor, nn

from kim_torchml.engines.torchscript.archive import inspect_archive
from kim_torchml.engines.torchscript.forbidden import FORBIDDEN_NAMES, check_operator
from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.errors import DriverError
from kim_torchml.process.oldest_versions import is_older

CPU = torch.device("cpu")
UNCHECKED = "does not check its arguments, so that wrong ones end the simulator's process: a model must not"

# Each of these makes a tensor whose index is far beyond its size.
ARGUMENTS = "torch.tensor([[1000000000000]]), torch.ones([1]), [3]"
SPELLINGS = {
    "called": f"x = torch._sparse_coo_tensor_unsafe({ARGUMENTS})",
    "spaced": f"x = torch . _sparse_coo_tensor_unsafe ({ARGUMENTS})",
    "alias of torch": f"t = torch\n    x = t._sparse_coo_tensor_unsafe({ARGUMENTS})",
    "alias of the function": f"f = torch._sparse_coo_tensor_unsafe\n    x = f({ARGUMENTS})",
    "ops": f"x = ops.aten._sparse_coo_tensor_unsafe({ARGUMENTS})",
    "alias of ops": f"a = ops.aten\n    x = a._sparse_coo_tensor_unsafe({ARGUMENTS})",
    "getattr": f'x = getattr(torch, "_sparse_coo_tensor_unsafe")({ARGUMENTS})',
    "getattr, octal": f'x = getattr(torch, "\\137sparse_coo_tensor_unsafe")({ARGUMENTS})',
    "getattr, joined": f'x = getattr(torch, "_sparse_coo" "_tensor_unsafe")({ARGUMENTS})',
    "getattr of ops": f'x = getattr(ops.aten, "_sparse_coo_tensor_unsafe")({ARGUMENTS})',
}


def refused(content, message):
    with pytest.raises(DriverError, match=message):
        inspect_archive(content, "x.pt")
    with pytest.raises(DriverError, match=message):
        TorchScriptProgram(content, "x.pt", CPU)


@pytest.fixture
def without_the_first_check(monkeypatch):
    """Let the code of a file pass unread, so that only the loaded graphs are checked."""
    monkeypatch.setattr("kim_torchml.engines.torchscript.program.inspect_archive", lambda content, name: frozenset())


@pytest.mark.parametrize("place", [LOADING, CALLING])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_refused_before_loading(spelling, place):
    content = with_line(SPELLINGS[spelling], instead=place)
    where = r"the (code of the )?model file x\.pt \(code/__torch__/archives\.py, line \d+\)"
    what = rf"(uses the operator aten::_sparse_coo_tensor_unsafe, which {UNCHECKED}|must name operators as ops\.names)"
    refused(content, f"^{where} {what}")


@pytest.mark.parametrize("name", sorted(FORBIDDEN_NAMES))
def test_every_name_is_refused(name):
    message = rf"uses the operator aten::{name}, which .+: a model must not; it has not been run"
    for line in ("x = torch.NAME(coordinates)", "x = ops.aten.NAME(coordinates)", 'x = getattr(torch, "NAME")'):
        with pytest.raises(DriverError, match=message):
            inspect_archive(with_line(line.replace("NAME", name), instead=CALLING), "x.pt")


@pytest.mark.parametrize("name", ["rpc_async", "rpc_remote", "rpc_sync", "PythonOp"])
def test_operators_that_leave_the_model_are_refused(name):
    with pytest.raises(DriverError, match=rf"uses the operator prim::{name}, which (reaches the network|runs Python)"):
        inspect_archive(with_line(f"x = ops.prim.{name}(coordinates)", instead=CALLING), "x.pt")


def test_operators_of_other_namespaces_are_refused():
    content = with_line("x = ops.mkldnn._reorder_mkldnn_rnn_layer_weight(coordinates, coordinates, 0)", CALLING)
    with pytest.raises(DriverError, match=rf"the operator mkldnn::_reorder_mkldnn_rnn_layer_weight, which {UNCHECKED}"):
        inspect_archive(content, "x.pt")


def test_no_name_is_misspelt():
    known = {schema.name for schema in torch._C._jit_get_all_schemas()}
    unknown = {name for name in FORBIDDEN_NAMES if f"aten::{name}" not in known}
    assert not unknown or is_older(torch.__version__, "2.13")


@pytest.mark.usefixtures("without_the_first_check")
@pytest.mark.parametrize("place", PLACES)
def test_graphs_are_checked_too(place):
    line = f"{SPELLINGS['getattr']}\n    print(x)"
    content = with_line(line, instead="return torch.sum(x)", kind=PLACES[place])
    torch.jit.load(io.BytesIO(content))
    with pytest.raises(DriverError, match=rf"^the model file x\.pt uses the operator aten::_sparse_coo_.+{UNCHECKED}"):
        TorchScriptProgram(content, "x.pt", CPU)


REDUCTIONS = {
    "constant": 'x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=True)',
    "in the middle": 'x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=True, initial=0)',
    "ops": 'x = ops.aten.segment_reduce(coordinates, "sum", lengths=species, unsafe=True)',
    "another name": 'f = torch.segment_reduce\n    x = f(coordinates, "sum", lengths=species, unsafe=True)',
    "getattr": 'x = getattr(torch, "segment\\137reduce")(coordinates, "sum", lengths=species, unsafe=True)',
    "variable": 'u = True\n    x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=u)',
    "computed": 'x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=torch.dim(species) == 1)',
    "expression": 'x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=False or True)',
    "conditional": 'x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=False if False else True)',
    "out": 'x = torch.segment_reduce(coordinates, "sum", lengths=species, unsafe=True, out=coordinates)',
}
WITHOUT_CHECKS = (
    r"uses the operator aten::segment_reduce with unsafe=True, or with a value of unsafe that is known only when the "
    r"model runs: then the operator does not check its other arguments, so that wrong ones end the simulator's "
    r"process; it has not been run\. Use unsafe=False, which is the default, and export it again$"
)


@pytest.mark.parametrize("spelling", REDUCTIONS)
def test_checks_that_are_turned_off(spelling):
    content = with_line(REDUCTIONS[spelling], instead=CALLING)
    refused(content, rf"^the model file x\.pt \(code/__torch__/archives\.py, line \d+\) {WITHOUT_CHECKS}")


@pytest.mark.usefixtures("without_the_first_check")
@pytest.mark.parametrize("spelling", ["constant", "another name", "variable", "computed", "out"])
def test_graphs_are_checked_for_checks_that_are_turned_off(spelling):
    content = with_line(f"{REDUCTIONS[spelling]}\n    print(x)", instead=CALLING)
    with pytest.raises(DriverError, match=rf"^the model file x\.pt {WITHOUT_CHECKS}"):
        TorchScriptProgram(content, "x.pt", CPU)


@pytest.mark.parametrize("name", ["_index_put_impl", "_index_put_impl_"])
def test_indices_that_are_not_checked(name):
    message = rf"uses the operator aten::{name} with unsafe=True, or with a value of unsafe that is known only when"
    for end in ("False, True", "unsafe=True"):
        call = f"torch.{name}(coordinates, annotate(List[Optional[Tensor]], [species]), coordinates, {end})"
        # What is not used is left out of the graph.
        content = with_line(f"x = {call}\n    print(x)", instead=CALLING)
        with pytest.raises(DriverError, match=message):
            TorchScriptProgram(content, "x.pt", CPU)


class Reducing(nn.Module):
    """A model that sums by segments with torch's checks, and has a variable of that argument's name."""

    def forward(self, a: Tensor, r: Tensor, lengths: Tensor, c: Tensor, d: Tensor) -> Tensor:
        unsafe = a.dim() > 7
        first = torch.segment_reduce(r, "sum", lengths=lengths)
        second = torch.segment_reduce(r, "sum", lengths=lengths, unsafe=False, initial=0.0)
        return first.sum() + second.sum() + float(unsafe)


def test_sums_by_segments_are_allowed():
    program = TorchScriptProgram(script_bytes(Reducing), "x.pt", CPU)
    tensors = [torch.ones(4, 3, dtype=torch.float64)] * 2 + [torch.tensor([3, 1])] * 3
    assert program._forward(tensors).item() == 24.0
    tensors[2] = torch.tensor([3, 10**12])
    with pytest.raises(RuntimeError, match="Expected all rows of lengths along axis to sum"):
        program._forward(tensors)


def test_torch_itself_would_end_the_process():
    """Without the refusal, what these tests refuse does harm."""
    printed = run_python(
        """
        import os, torch
        far = torch.tensor([10**12])
        calls = [
            lambda: torch.ops.aten.segment_reduce(torch.rand(4), "sum", lengths=far, unsafe=True),
            lambda: torch.ops.aten._sparse_coo_tensor_unsafe(far[None], torch.rand(1), [3]).to_dense(),
        ]
        for call in calls:
            child = os.fork()
            if child == 0:
                call()
                os._exit(0)
            print(os.WIFSIGNALED(os.waitpid(child, 0)[1]))
        """
    )
    assert printed.split() == ["True", "True"]


# What potentials and torch's own decompositions of operators name, although some of the names sound dangerous.
USED = """
    as_strided _unsafe_view unsafe_chunk unsafe_split _unsafe_index index_put_ _index_put_impl_ index_add scatter_add
    scatter_reduce gather index_select embedding sparse_coo_tensor sparse_csr_tensor coalesce _coalesced_
    indices values crow_indices col_indices _indices _values segment_reduce
    repeat_interleave searchsorted cdist pdist max_pool2d max_pool1d _weight_norm layer_norm batch_norm
    resize_ set_ expand select_backward slice_backward view_as_complex linalg_solve_ex cummax
""".split()


@pytest.mark.parametrize("name", USED)
def test_operators_that_models_use_are_allowed(name):
    check_operator(f"aten::{name}", "file x.pt")
    inspect_archive(with_line(f"x = torch.{name}(coordinates)", instead=CALLING, kind=Stateful), "x.pt")
