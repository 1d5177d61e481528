# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loading and calling TorchScript."""

import io
import sys
import threading
import warnings

import pytest
import torch
from archives import Stateful, with_line
from misbehaving import Failing, FourInputs, MixedPrecision, Printing, Raising, Training, WholeNumbers
from models import Graph2, Graph3, PairTotal, script_bytes

from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs

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


@pytest.mark.parametrize("number", [3, 6])
def test_a_wrong_number_of_inputs(number):
    with pytest.raises(DriverError, match=r"^the model in x\.pt raised an error: .*forward\(\)"):
        call(load(PairTotal), [torch.ones(2, 3)] * number)


def test_code_that_torch_cannot_compile():
    message = (
        r"^torch \S+ cannot load the model file x\.pt: Unknown builtin op: aten::no_such_operator.* "
        r'\(File "code/__torch__/archives\.py", line \d+\); export it again with a version of torch that is not newer$'
    )
    with pytest.raises(DriverError, match=message):
        TorchScriptProgram(with_line("x = torch.no_such_operator(state)"), "x.pt", CPU)


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
