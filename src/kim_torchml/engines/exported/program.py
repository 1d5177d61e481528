# SPDX-License-Identifier: LGPL-2.1-or-later
"""A .pt2 file as a program: read by the project's own reader, run operator by operator, differentiated by autograd."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from kim_torchml.engines.contract import CallSignature, Program, ProgramInputs, ProgramResult, Table
from kim_torchml.engines.errors import is_gpu_failure, is_out_of_memory, reason_of
from kim_torchml.engines.exported.archive import EXPORT_AGAIN, ProgramArchive, open_archive, with_entries
from kim_torchml.engines.exported.call import check_call
from kim_torchml.engines.exported.graph import ProgramGraph
from kim_torchml.engines.exported.operators import EXCHANGE, OWN_ROWS
from kim_torchml.engines.exported.precision import in_double
from kim_torchml.engines.exported.reading import read_graph
from kim_torchml.engines.exported.runner import OperatorError, Runner, make_runner
from kim_torchml.engines.exported.tables import tables_of_first_input
from kim_torchml.engines.exported.weights import StoredTensors, read_constants, read_weights
from kim_torchml.engines.gradient import gradient_by_leaf
from kim_torchml.engines.returned_tensors import energy_and_forces
from kim_torchml.errors import DriverError, shortened
from kim_torchml.process.profile import FORWARD, timed


def open_exported(content: bytes, file_name: str, device: torch.device, signature: CallSignature) -> Program:
    """Open a .pt2 file.

    Args:
        content: The file's bytes.
        file_name: Its name, for messages.
        device: Where to put the model.
        signature: What the model is to be called with.
    Raises:
        DriverError: If the content is no such file, uses what programs must not use, or was exported for other tensors
            than the signature says.
        MemoryError: If the device has not enough memory.
    """
    graph, stored = read_program(open_archive(content, file_name), device)
    check_call(graph, file_name, signature)
    return ExportedProgram(graph, stored, file_name, device, signature)


def read_program(archive: ProgramArchive, device: torch.device) -> tuple[ProgramGraph, StoredTensors]:
    """Return the program in a file, and its tensors.

    Args:
        archive: The file's entries.
        device: Where to put the tensors.
    Raises:
        DriverError, MemoryError: See open_exported.
    """
    try:
        graph = read_graph(archive, device)
        return graph, _stored_tensors(archive, graph, device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(reason_of(error)) from error
        if is_gpu_failure(error):
            raise
        raise DriverError(
            f"torch {torch.__version__} cannot hold the tensors of the model file {archive.file_name}: "
            f"{reason_of(error)}; {EXPORT_AGAIN}"
        ) from error


def _stored_tensors(archive: ProgramArchive, graph: ProgramGraph, device: torch.device) -> StoredTensors:
    """Return the tensors that a program needs by their names, and all bytes that the file stores tensors in."""
    weights, constants = read_weights(archive, device), read_constants(archive, device)
    found: dict[str, torch.Tensor] = {}
    for name in (*graph.weights, *graph.constants):
        held = weights if name in weights.tensors else constants
        if name not in held.tensors:
            raise DriverError(
                f"the program in the model file {archive.file_name} needs the tensor {shortened(name)}, which the file "
                "does not hold; export the model again"
            )
        found[name] = held.tensors[name]
    return StoredTensors(found, {**weights.stored, **constants.stored})


class ExportedProgram(Program):
    """A program of torch.export."""

    def __init__(
        self,
        graph: ProgramGraph,
        stored: StoredTensors,
        file_name: str,
        device: torch.device,
        signature: CallSignature,
    ) -> None:
        """Keep what has been read and checked; see open_exported."""
        self.file_name = file_name
        self.device = device
        self.dtype = _floating_type(graph) if signature.dtype is None else signature.dtype
        self._stored = stored
        self._returns_forces = signature.returns_forces
        self._returns_stated = signature.returns_stated
        self._take_graph(graph)

    def _take_graph(self, graph: ProgramGraph) -> None:
        self._graph = graph
        self._runner = make_runner(graph)
        self.n_exchanges = self._runner.operators.count(EXCHANGE)
        self.takes_own_rows = OWN_ROWS in self._runner.operators
        # These belong to the caller of `run`, or to the model.
        self._is_shared = [graph.may_be_shared(each) for each in graph.outputs]

    def run(self, inputs: ProgramInputs, wants_gradient: bool) -> ProgramResult:
        """Call the program, and differentiate its energy if that is wanted and it returns no forces itself."""
        with self._explained_errors():
            with timed(FORWARD):
                returned = self._runner.run(self._stored.tensors, inputs.arguments)
            result = returned[0] if len(returned) == 1 else tuple(returned)
            energies, forces = energy_and_forces(result, self._returns_forces, self._returns_stated, self.file_name)
            gradient = gradient_by_leaf(energies, inputs) if wants_gradient and forces is None else None
            return ProgramResult(self._own(energies, 0), gradient, None if forces is None else self._own(forces, 1))

    @property
    def runner(self) -> Runner:
        """The program's calls of operators."""
        return self._runner

    @property
    def stored_tensors(self) -> Mapping[str, torch.Tensor]:
        """Weights and constants by their names, as `runner` takes them."""
        return self._stored.tensors

    def _own(self, tensor: torch.Tensor, number: int) -> torch.Tensor:
        """Return an output without its graph, in memory that is neither the caller's nor the model's."""
        return tensor.detach().clone() if self._is_shared[number] else tensor.detach()

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        """Turn an error out of the program, forward or backward, into one that names the model."""
        try:
            yield
        except (OperatorError, RuntimeError, ValueError, TypeError, IndexError) as error:
            cause, where = (error.error, f" in {error.operator}") if isinstance(error, OperatorError) else (error, "")
            if is_out_of_memory(cause):
                raise MemoryError(reason_of(cause)) from error
            if is_gpu_failure(cause):
                raise cause from error
            raise DriverError(
                f"the model in {self.file_name} raised an error{where}: {reason_of(cause)}; call it with the same "
                "tensors in Python to see more"
            ) from error

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by their dotted names, on the model's device."""
        return {name: self._stored.tensors[name] for name in self._graph.weights}

    def argument_names(self) -> Sequence[str]:
        """Return the names of forward's arguments."""
        return [each.name for each in self._graph.inputs]

    def tables(self) -> Sequence[Table]:
        """Return the tables that forward's first argument is an index of."""
        return list(tables_of_first_input(self._graph, self._stored.tensors))

    def attribute(self, name: str) -> Any:
        """Return None: torch.export keeps tensors alone."""
        return None

    def with_tensors(self, tensors: Mapping[str, torch.Tensor]) -> "ExportedProgram":
        """Return a copy, shared with nobody, in which some tensors have other values."""
        copied = copy.copy(self)
        # Tensors that are views of the same bytes are so in the copy as well.
        copied._stored = copy.deepcopy(self._stored)
        inside = copied.tensors()
        with torch.no_grad():
            for name, values in tensors.items():
                inside[name].copy_(values)
        return copied

    def in_double_precision(self) -> "ExportedProgram":
        """Return a copy, shared with nobody, whose tensors, those that it makes included, and inputs are float64."""
        copied = copy.copy(self)
        tensors = {
            name: tensor.to(torch.float64 if tensor.is_floating_point() else tensor.dtype, copy=True)
            for name, tensor in self._stored.tensors.items()
        }
        # The file has no room for them.
        copied._stored = StoredTensors(tensors, {})
        copied._take_graph(in_double(self._graph))
        copied.dtype = torch.float64
        return copied

    def file_content(self, original: bytes) -> bytes:
        """Return the file with the program's weights as they are now, and with all else that is in it."""
        return with_entries(
            original, {name: stored.cpu().numpy().tobytes() for name, stored in self._stored.stored.items()}
        )


def _floating_type(graph: ProgramGraph) -> torch.dtype:
    """Return the floating type of the inputs that the program was exported for; float64 where it has none."""
    return next((each.dtype for each in graph.inputs if each.dtype.is_floating_point), torch.float64)
