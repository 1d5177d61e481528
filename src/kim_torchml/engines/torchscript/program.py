# SPDX-License-Identifier: LGPL-2.1-or-later
"""A TorchScript file as a program: the only place that calls TorchScript."""

import copy
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from kim_torchml.engines.contract import CallSignature, Program, ProgramInputs, ProgramResult, Table
from kim_torchml.engines.errors import is_gpu_failure, is_out_of_memory
from kim_torchml.engines.gradient import gradient_by_leaf
from kim_torchml.engines.returned_tensors import energy_and_forces
from kim_torchml.engines.torchscript.archive import extra_files, inspect_archive
from kim_torchml.engines.torchscript.errors import names_a_device, reason_in_code
from kim_torchml.engines.torchscript.exchanges import count_exchanges
from kim_torchml.engines.torchscript.forbidden import check_node
from kim_torchml.engines.torchscript.graphs import graphs_of, keeps_state, nodes_of
from kim_torchml.engines.torchscript.loading import expected_deprecations, floating_type, load_module
from kim_torchml.engines.torchscript.operators import provide_operators
from kim_torchml.engines.torchscript.sparse_tensors import checked_sparse_tensors, makes_sparse_tensors
from kim_torchml.engines.torchscript.standard_output import stdout_to_stderr
from kim_torchml.engines.torchscript.tables import tables_of_first_argument
from kim_torchml.errors import DriverError
from kim_torchml.process.profile import FORWARD, timed


def open_torchscript(content: bytes, file_name: str, device: torch.device, signature: CallSignature) -> Program:
    """Open a TorchScript file.

    Args:
        content: The file's bytes.
        file_name: Its name, for messages.
        device: Where to put the model.
        signature: What the model is to be called with.
    Raises:
        DriverError: If the content is not TorchScript, uses an operator that is missing or not allowed, mixes floating
            types, or takes another number of tensors than the signature says.
    """
    program = TorchScriptProgram(content, file_name, device, signature)
    expected, fewest, most = len(signature.arguments), program.n_inputs, program.most_inputs
    if not fewest <= expected <= most:
        found = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise DriverError(
            f"the model in {file_name} must take {expected} inputs, as {signature.source}, but its forward takes "
            f"{found}; correct what that file says, or the model"
        )
    return program


class TorchScriptProgram(Program):
    """A loaded TorchScript model."""

    def __init__(
        self, content: bytes, file_name: str, device: torch.device, signature: CallSignature | None = None
    ) -> None:
        """Check and load a model; see open_torchscript. Without a signature, it is to return the energy alone."""
        self.file_name = file_name
        self.device = device
        self._returns_forces = signature is not None and signature.returns_forces
        self._returns_stated = "" if signature is None else signature.returns_stated
        provide_operators(inspect_archive(content, file_name))
        self._module = load_module(content, file_name, device)
        graphs = list(graphs_of(self._module))
        for node in nodes_of(graphs):
            check_node(node, f"file {file_name}")
        self._prints = any(node.kind() == "prim::Print" for node in nodes_of(graphs))
        self._makes_sparse_tensors = makes_sparse_tensors(nodes_of(graphs))
        self._keeps_state = keeps_state(self._module)
        self.n_exchanges = count_exchanges(self._module, file_name)
        self._lock = self._new_lock()
        stated = None if signature is None else signature.dtype
        self.dtype = floating_type(self._module, graphs, file_name) if stated is None else stated

    def _new_lock(self) -> AbstractContextManager[Any]:
        """Return a lock for a model that keeps results in its attributes: two threads must not be in it at once.

        It is re-entrant: a signal handler may compute too, in the thread that the signal has interrupted.
        """
        return threading.RLock() if self._keeps_state else nullcontext()

    @property
    def n_inputs(self) -> int:
        """Number of tensors that forward must be given."""
        return sum(not each.has_default_value() for each in self._arguments())

    @property
    def most_inputs(self) -> int:
        """Number of tensors that forward can be given: the last of them may have defaults."""
        return sum(not each.kwarg_only for each in self._arguments())

    def _arguments(self) -> list[Any]:
        """Return the arguments of forward as its schema has them."""
        arguments: list[Any] = self._module._c._get_method("forward").schema.arguments
        return arguments[1:]

    def run(self, inputs: ProgramInputs, wants_gradient: bool) -> ProgramResult:
        """Call the model, and differentiate its energy if that is wanted and it returns no forces itself."""
        # The lock is held until the results are copied: what the model keeps may be part of them, and of the graph
        # that the backward pass goes through.
        sparse_checks = checked_sparse_tensors(self._makes_sparse_tensors)
        with self._lock, self._explained_errors(), sparse_checks:
            with timed(FORWARD):
                returned = self._forward(inputs.arguments)
            energies, forces = energy_and_forces(returned, self._returns_forces, self._returns_stated, self.file_name)
            gradient = gradient_by_leaf(energies, inputs) if wants_gradient and forces is None else None
            return ProgramResult(self._own(energies), gradient, None if forces is None else self._own(forces))

    def _own(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor without its graph and, if the model keeps results, in memory that no later call changes."""
        return tensor.detach().clone() if self._keeps_state else tensor.detach()

    def _forward(self, arguments: Sequence[torch.Tensor]) -> Any:
        # The profiling executor compiles anew for the first few steps and for every new number of edges, and its
        # backward is slower in the end (tests/benchmark/executor.py). The setting is this thread's alone.
        stdout = stdout_to_stderr() if self._prints else nullcontext()
        with _without_optimisation(), stdout:
            return self._module(*arguments)

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        """Turn an error out of the model's code, forward or backward, into one that names the model."""
        try:
            yield
        except (torch.jit.Error, RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = reason_in_code(error)
            if is_out_of_memory(error):
                raise MemoryError(reason) from error
            remedy = "call it with the same tensors in Python to see more"
            if names_a_device(error, self.device):
                remedy = (
                    f"it runs on {self.device}, but its code makes tensors on another device: it names one, as a "
                    "traced model does, or none, which means cpu; make them on the device of its inputs, such as "
                    "torch.zeros(3, device=x.device), and export it again"
                )
            elif is_gpu_failure(error):
                raise
            raise DriverError(f"the model in {self.file_name} raised an error: {reason}; {remedy}") from error

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by their dotted names, on the model's device."""
        return {**dict(self._module.named_parameters(remove_duplicate=False)), **dict(self._module.named_buffers())}

    def argument_names(self) -> list[str]:
        """Return the names of forward's arguments."""
        return [argument.name for argument in self._arguments()]

    def tables(self) -> list[Table]:
        """Return the tables that forward's first argument is an index of."""
        return list(tables_of_first_argument(self._module))

    def attribute(self, name: str) -> Any:
        """Return an attribute of the scripted module; None if there is none."""
        return getattr(self._module, name, None)

    def with_tensors(self, tensors: Mapping[str, torch.Tensor]) -> "TorchScriptProgram":
        """Return a copy, shared with nobody, in which some tensors have other values."""
        copied = self._copy()
        inside = copied.tensors()
        with torch.no_grad():
            for name, values in tensors.items():
                inside[name].copy_(values)
        return copied

    def in_double_precision(self) -> "TorchScriptProgram":
        """Return a copy, shared with nobody, whose parameters, buffers and inputs are float64."""
        copied = self._copy()
        copied._module.double()
        copied.dtype = torch.float64
        return copied

    def _copy(self) -> "TorchScriptProgram":
        copied = copy.copy(self)
        with self._lock:
            copied._module = copy.deepcopy(self._module)
        copied._lock = self._new_lock()
        return copied

    def file_content(self, original: bytes) -> bytes:
        """Return the model as a TorchScript file's bytes, with the files that its author has put beside it."""
        buffer = io.BytesIO()
        with expected_deprecations(), self._lock:
            torch.jit.save(self._module, buffer, _extra_files=extra_files(original))
        return buffer.getvalue()


def _without_optimisation() -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return context
