# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loading and calling TorchScript."""

import io
import sys
import threading
import warnings

import pytest
import torch
from archives import CALLING, Stateful, with_line
from misbehaving import Failing, FourInputs, MixedPrecision, Printing, Raising, Training, WholeNumbers
from models import Graph2, Graph3, PairTotal, script_bytes
from torch import Tensor, nn

from kim_torchml.engines.torchscript.errors import names_a_device, reason_in_code
from kim_torchml.engines.torchscript.program import TorchScriptProgram, open_torchscript
from kim_torchml.errors import DriverError, shortened
from kim_torchml.inputs import Argument, ModelInputs, Signature

CPU = torch.device("cpu")


def load(kind, device=CPU, **arguments):
    return TorchScriptProgram(script_bytes(kind, **arguments), "x.pt", device)


def five_tensors(device=CPU, n=4):
    return [torch.ones(n, 3, dtype=torch.float64, device=device) for _ in range(5)]


def call(program, tensors, wants_gradient=False):
    """Call a model with tensors, the second of which is the leaf; all of its rows contribute."""
    return program.run(ModelInputs(tuple(tensors), tensors[1], len(tensors[1]), slice(None), None, 1), wants_gradient)


def test_threads_that_print_leave_stdout_as_it_was(capfd):
    before = sys.stdout
    model = load(Printing)
    threads = [threading.Thread(target=lambda: [call(model, five_tensors()) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err != ""


def test_the_number_of_inputs():
    assert load(PairTotal).n_inputs == 5
    assert load(Graph3).n_inputs == 6
    assert load(FourInputs).n_inputs == 4


def test_a_model_without_forward():
    with pytest.raises(DriverError, match=r"^the model in x\.pt must have a method forward, got none; export it with"):
        load(nn.ParameterList)


def test_evaluation_mode():
    assert call(load(Training), five_tensors()).energies == 12.0


def test_weights_are_not_differentiated(device):
    model = load(PairTotal, device)
    tensors = [*model._module.parameters(), *model._module.buffers()]
    assert len(tensors) == 2
    for tensor in tensors:
        assert tensor.requires_grad is False
        assert tensor.device == device


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [PairTotal, Graph2])
def test_the_floating_type_is_that_of_the_weights(kind, dtype):
    assert load(kind, dtype=dtype).dtype is dtype


def test_without_weights_it_is_float64():
    assert load(WholeNumbers).dtype is torch.float64
    assert load(Stateful).dtype is torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_frozen_model_has_its_weights_in_its_code(dtype):
    frozen = torch.jit.freeze(torch.jit.script(PairTotal().to(dtype)).eval())
    assert not list(frozen.parameters())
    buffer = io.BytesIO()
    torch.jit.save(frozen, buffer)
    assert TorchScriptProgram(buffer.getvalue(), "x.pt", CPU).dtype is dtype


def test_mixed_floating_types():
    message = (
        r"the parameters and buffers of the model in x\.pt must have one floating type, got torch\.float32, "
        r"torch\.float64; convert the model with \.to\(torch\.float64\) or"
    )
    with pytest.raises(DriverError, match=message):
        load(MixedPrecision, dtype=None)


def test_the_deprecation_of_torchscript_is_not_the_users_business():
    content = script_bytes(Graph2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(TorchScriptProgram(content, "x.pt", CPU), graph_inputs(5))


def test_what_a_model_prints_goes_to_stderr(capfd):
    model = load(Printing)
    call(model, five_tensors(n=7))
    assert capfd.readouterr() == ("", "rows 7\n")


def test_a_models_own_error():
    message = (
        r'^the model in x\.pt raised an error: .*this model is never content \(File "code/__torch__/misbehaving\.py", '
        r"line \d+, in forward\); call it with the same tensors in Python to see more$"
    )
    with pytest.raises(DriverError, match=message):
        call(load(Raising), five_tensors())


def test_an_error_of_torch_within_a_model():
    message = r'^the model in x\.pt raised an error: .*4x3 and 4x3.* \(File "code/__torch__/misbehaving\.py", line \d+'
    with pytest.raises(DriverError, match=message):
        call(load(Failing), five_tensors())


class OneDefault(nn.Module):
    def forward(self, a: Tensor, r: Tensor, b: Tensor, c: Tensor, d: Tensor, scale: float = 2.0) -> Tensor:
        return scale * r.sum()


class ThreeDefaults(nn.Module):
    def forward(
        self, a: Tensor, r: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor | None = None, f: int = 2, g: float = 1.0
    ) -> Tensor:
        return g * f * r.sum()


class DescriptorDefault(nn.Module):
    def forward(self, r: Tensor, with_forces: bool = False) -> Tensor:
        return r.sum()


class GraphDefault(nn.Module):
    def forward(self, s: Tensor, r: Tensor, edges: Tensor, mask: Tensor, cell: Tensor | None = None) -> Tensor:
        return r.sum()


# Fewest and most arguments of their forward.
DEFAULTS = {
    OneDefault: (5, 6),
    ThreeDefaults: (5, 8),
    DescriptorDefault: (1, 2),
    GraphDefault: (4, 5),
    FourInputs: (4, 4),
    PairTotal: (5, 5),
    Graph3: (6, 6),
}


@pytest.mark.parametrize("n", range(10))
@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_arguments_with_defaults_need_not_be_given(kind, n):
    fewest, most = DEFAULTS[kind]
    arguments = tuple(Argument(f"x{k}", ("n",)) for k in range(n))
    signature = Signature(arguments, "x1", False, "the parameter file says (number of inputs)", "it says so")
    if fewest <= n <= most:
        program = open_torchscript(script_bytes(kind), "x.pt", CPU, signature)
        assert (program.n_inputs, program.most_inputs) == (fewest, most)
        return
    found = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    message = (
        rf"^the model in x\.pt must take {n} inputs, as the parameter file says \(number of inputs\), but its forward "
        rf"takes {found}; correct what that file says, or the model$"
    )
    with pytest.raises(DriverError, match=message):
        open_torchscript(script_bytes(kind), "x.pt", CPU, signature)


@pytest.mark.parametrize("kind", [OneDefault, ThreeDefaults], ids=lambda kind: kind.__name__)
def test_defaults_are_used(kind):
    assert call(load(kind), five_tensors()).energies == 24.0


@pytest.mark.parametrize("number", [3, 6])
def test_a_wrong_number_of_inputs(number):
    with pytest.raises(DriverError, match=r"^the model in x\.pt raised an error: .*forward\(\)"):
        call(load(PairTotal), [torch.ones(2, 3)] * number)


@pytest.mark.parametrize(
    ("line", "operator"),
    [
        ("x = torch.no_such_operator(state)", "aten::no_such_operator"),
        ("x = torch.linalg_of_the_future(state, 3)", "aten::linalg_of_the_future"),
        ("x = ops.quantized.no_such_operator(state)", "quantized::no_such_operator"),
        ("x = ops.prim.no_such_operator(state)", "prim::no_such_operator"),
    ],
)
def test_an_operator_that_torch_does_not_know(line, operator):
    message = (
        rf"^torch \S+ cannot load the model file x\.pt: this torch does not know the operator {operator} "
        r'\(File "code/__torch__/archives\.py", line \d+\); the file was saved with a newer torch: update torch, or '
        rf"export the model with torch {torch.__version__.split('+')[0]}$"
    )
    with pytest.raises(DriverError, match=message):
        TorchScriptProgram(with_line(line), "x.pt", CPU)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x = torch.add(state, [1, 2])", r"Arguments for call are not valid\. The following variants .* \.\.\."),
        ("x = no_such_name", "undefined value no_such_name"),
        ("x = (state)[0].no_such_attribute", r"'Tensor' object has no attribute or method 'no_such_attribute'\."),
        ("x = torch.linalg.no_such(state)", "attribute lookup is not defined on builtin"),
    ],
)
def test_code_that_torch_cannot_compile(line, reason):
    message = (
        rf"^torch \S+ cannot load the model file x\.pt: {reason} "
        r'\(File "code/__torch__/archives\.py", line \d+\); export it again with a version of torch that is not newer$'
    )
    with pytest.raises(DriverError, match=message) as raised:
        TorchScriptProgram(with_line(line), "x.pt", CPU)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ('"mps"', "Could not run 'aten::empty.memory_format' with arguments from the 'MPS' backend"),
        ('"xpu:3"', "Could not run 'aten::empty.memory_format' with arguments from the 'XPU' backend"),
        ('"no_such_device"', r"RuntimeError: Expected one of cpu, .*no_such_device"),
    ],
)
@pytest.mark.parametrize("code", ["x = torch.zeros([3], dtype=6, device=torch.device(DEVICE))\n    print(x)"])
def test_a_model_that_names_a_device(code, device, reason):
    program = TorchScriptProgram(with_line(code.replace("DEVICE", device), instead=CALLING), "x.pt", CPU)
    message = (
        rf"^the model in x\.pt raised an error: {reason} "
        r'\(File "code/__torch__/archives\.py", line \d+, in forward\); it runs on cpu, but its code makes tensors on '
        r"another device: .* make them on the device of its inputs, such as torch\.zeros\(3, device=x\.device\)"
    )
    with pytest.raises(DriverError, match=message) as raised:
        call(program, five_tensors())
    assert len(str(raised.value)) < 700


# What torch says on a machine with a GPU, or with a build of torch for GPUs, which these tests may not have.
MIXED_DEVICES = [
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
    "Expected all tensors to be on the same device, but got index is on cpu, different from other tensors on cuda:0",
    "indices should be either on cpu or on the same device as the indexed tensor (cuda:0)",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver",
    "No CUDA GPUs are available",
    "CUDA error: invalid device ordinal",
    "PyTorch is not linked with support for cuda devices",
    "Could not run 'aten::add.Tensor' with arguments from the 'SparseCUDA' backend. This could be because",
]
OTHER_ERRORS = [
    "Could not run 'aten::sort.stable' with arguments from the 'SparseCPU' backend. This could be because",
    "PyTorch was not compiled with LAPACK support",
    "mat1 and mat2 shapes cannot be multiplied (4x3 and 4x3)",
]


@pytest.mark.parametrize("text", MIXED_DEVICES + OTHER_ERRORS)
def test_errors_that_come_from_another_device(text):
    long = f"{text}\n\n" + "CPU: registered at /pytorch/RegisterCPU.cpp:24 [kernel]\n" * 200
    error = RuntimeError(
        "The following operation failed in the TorchScript interpreter.\n"
        "Traceback of TorchScript, serialized code (most recent call last):\n"
        '  File "code/__torch__/m.py", line 7, in forward\n    x = torch.zeros([3])\n        ~~~~ <--- HERE\n\n'
        'Traceback of TorchScript, original code (most recent call last):\n  File "/home/a/m.py", line 3, in forward\n'
        f"    x = torch.zeros(3)\n        ~~~~ <--- HERE\nRuntimeError: {long}"
    )
    assert names_a_device(error, CPU) is (text in MIXED_DEVICES)
    reason = reason_in_code(error)
    assert reason.removeprefix("RuntimeError: ").startswith(text.partition(" This could")[0][:200].rstrip("."))
    assert reason.endswith('(File "code/__torch__/m.py", line 7, in forward)')
    assert len(reason) < 350


@pytest.mark.parametrize("length", [10, 240, 260, 8000])
@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_long_texts_are_shortened(length, blank):
    text = f"word{blank}" * (length // (4 + len(blank)))
    found = shortened(text)
    assert len(found) <= 254
    whole = " ".join(text.split())
    assert found == whole if len(whole) <= 250 else whole.startswith(found.removesuffix(" ...")) and len(found) > 200


def test_a_models_own_long_error():
    """The reason is cut, the place in the model's code is not."""
    content = with_line(f'ops.prim.RaiseException("{"words " * 2000}")', instead=CALLING)
    message = r'words \.\.\. \(File "code/__torch__/archives\.py", line \d+, in forward'
    with pytest.raises(DriverError, match=message) as raised:
        call(TorchScriptProgram(content, "x.pt", CPU), five_tensors())
    assert len(str(raised.value)) < 500


def test_an_error_while_loading():
    with pytest.raises(DriverError, match=r"^torch \S+ cannot load the model file x\.pt: .*not today"):
        TorchScriptProgram(with_line('ops.prim.RaiseException("not today")'), "x.pt", CPU)


def graph_inputs(n):
    coordinates = torch.rand(n, 3, dtype=torch.float64, requires_grad=True)
    edges = torch.combinations(torch.arange(n)).T.contiguous()
    return torch.zeros(n, dtype=torch.int64), coordinates, edges, edges, torch.zeros(n, dtype=torch.int64)


def graphs_executed(function, calls=6):
    """What the TorchScript executor ran, call by call, each with another number of particles and edges."""
    executed = []
    for number in range(calls):
        function(graph_inputs(4 + number))
        executed.append(str(torch._C._last_executed_optimized_graph()))
    return executed


def test_nothing_is_compiled_between_one_call_and_the_next():
    model = load(Graph2)
    assert len(set(graphs_executed(lambda inputs: call(model, inputs, wants_gradient=True)))) == 1
    assert len(set(graphs_executed(lambda inputs: model._module(*inputs).sum().backward()))) > 1


def test_the_executors_setting_is_put_back():
    call(load(Graph2), graph_inputs(5))
    assert torch._C._get_graph_executor_optimize() is True
    with pytest.raises(DriverError):
        call(load(Raising), five_tensors())
    assert torch._C._get_graph_executor_optimize() is True
    with torch.jit.optimized_execution(False):
        call(load(Graph2), graph_inputs(5))
        assert torch._C._get_graph_executor_optimize() is False
