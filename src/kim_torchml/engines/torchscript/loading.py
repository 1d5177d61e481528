# SPDX-License-Identifier: LGPL-2.1-or-later
"""Load a TorchScript file that has been looked into, and find out what its floating inputs must be."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from kim_torchml.engines.errors import is_gpu_failure, is_out_of_memory
from kim_torchml.engines.torchscript.errors import reason_in_code, unknown_operator
from kim_torchml.engines.torchscript.graphs import constant_tensors
from kim_torchml.engines.torchscript.standard_output import stdout_to_stderr
from kim_torchml.errors import DriverError

# The values of PYTORCH_JIT for which torch switches TorchScript off.
_JIT_OFF = ("0", "0v", "false", "no")


@contextmanager
def expected_deprecations() -> Iterator[None]:
    """Silence what torch 2.13 says of TorchScript (FutureWarning from 2.15): running it is what this engine is for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
        yield


def load_module(content: bytes, file_name: str, device: torch.device) -> Any:
    """Return a file's scripted module on a device, ready for evaluation; its weights are not differentiated.

    Raises:
        DriverError: If torch cannot load it.
        MemoryError: If the device has not enough memory.
        RuntimeError: If the GPU fails.
    """
    check_switched_on(file_name)
    try:
        # Loading may run code of the file (`__setstate__`), and that may print.
        with expected_deprecations(), stdout_to_stderr():
            module: Any = torch.jit.load(io.BytesIO(content), map_location=device)
    except (torch.jit.Error, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise MemoryError(reason_in_code(error)) from error
        if is_gpu_failure(error):
            raise
        raise _cannot_load(error, file_name) from error
    if not module._c._has_method("forward"):
        raise DriverError(f"the model in {file_name} must have a method forward, got none; export it with one")
    module.eval()
    # The backward pass then skips the weights.
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def check_switched_on(file_name: str) -> None:
    """Check that torch runs TorchScript; its own AttributeError names neither the file nor the switch.

    Raises:
        DriverError: If it does not.
    """
    if torch.jit._state._enabled.enabled:
        return
    value = os.environ.get("PYTORCH_JIT", "")
    if value.lower() in _JIT_OFF:
        by, remedy = f"the environment variable PYTORCH_JIT={value}", "unset it"
    else:
        by, remedy = "code of the simulator", "let it do without torch.jit._state.disable() or PYTORCH_JIT=0"
    raise DriverError(
        f"the model file {file_name} is TorchScript, which is switched off in this process by {by}: {remedy}"
    )


def _cannot_load(error: BaseException, file_name: str) -> DriverError:
    reason, remedy = reason_in_code(error), "export it again with a version of torch that is not newer"
    operator = unknown_operator(error)
    if operator is not None:
        reason = reason.replace(f"Unknown builtin op: {operator}.", f"this torch does not know the operator {operator}")
        remedy = f"the file was saved with a newer torch: update torch, or export the model with torch {_release()}"
    return DriverError(f"torch {torch.__version__} cannot load the model file {file_name}: {reason}; {remedy}")


def _release() -> str:
    return str(torch.__version__).split("+")[0]


def floating_type(module: Any, graphs: list[Any], file_name: str) -> torch.dtype:
    """Return the floating type of a module's parameters and buffers; float64 where it has none.

    Args:
        module: The module.
        graphs: Graphs of its methods.
        file_name: Name of its file, for the message.
    Raises:
        DriverError: If there are several.
    """
    tensors = [*module.parameters(), *module.buffers()]
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if len(types) > 1:
        found = ", ".join(sorted(map(str, types)))
        raise DriverError(
            f"the parameters and buffers of the model in {file_name} must have one floating type, got {found}; "
            "convert the model with .to(torch.float64) or .to(torch.float32) before exporting it"
        )
    # A frozen model has its weights as constants of its graphs.
    constants = {tensor.dtype for tensor in constant_tensors(graphs) if tensor.is_floating_point()}
    if not types and len(constants) == 1:
        types = constants
    return types.pop() if types else torch.float64
