# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program that this machine has compiled, beside the same program as its file has it."""

import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from kim_torchml.engines.contract import CallSignature, Program, ProgramInputs, ProgramResult, Table
from kim_torchml.engines.errors import is_out_of_memory, reason_of
from kim_torchml.engines.exchange import FEWEST_ROWS, is_exchanging
from kim_torchml.engines.exported.compiled.checked_inputs import check_indices, check_inputs
from kim_torchml.engines.exported.compiled.joint import seed_of
from kim_torchml.errors import DriverError
from kim_torchml.process import notices
from kim_torchml.process.profile import FORWARD, timed
from kim_torchml.process.rank import find_rank

# Native code of a GPU may count the entries of a tensor with 32 bits, and nothing would tell of it. This many rows or
# edges are safe for tensors of up to 4096 entries each.
_MOST_ON_GPU = 2**31 // 4096


class CompiledProgram(Program):
    """A compiled program: energies and gradient in one call, without an autograd graph.

    Everything but the call is the program's that it was compiled from. What has other weights is that program: native
    code has the weights of its file in it.
    """

    def __init__(self, source: Program, library: Path, energies: torch.dtype, signature: CallSignature) -> None:
        """Load native code.

        Args:
            source: The program that it was compiled from, opened for the same device.
            library: The native code.
            energies: Type of the energies.
            signature: What the program is called with.
        Raises:
            RuntimeError: If the code cannot be loaded.
        """
        self.file_name = source.file_name
        self.device = source.device
        self.dtype = source.dtype
        self.n_exchanges = source.n_exchanges
        # Native code of own rows is for two of them.
        self._fewest_rows = FEWEST_ROWS if source.takes_own_rows else 1
        self._source = source
        self._energies = energies
        self._arguments = signature.arguments
        self._runner = _runner_of(library, source.device)
        # Native code lets one thread in, and calls back into Python where it exchanges features. A thread that waited
        # inside with Python's lock would keep the other from going on.
        self._turn = threading.Lock()
        self._has_failed = False
        self._most = _MOST_ON_GPU if source.device.type == "cuda" else sys.maxsize
        # The first argument looks up tables, which native code does without a look at their sizes.
        self._n_of_tables = min((each.n_rows for each in source.tables()), default=None)

    def run(self, inputs: ProgramInputs, wants_gradient: bool) -> ProgramResult:
        """Call the program, after a look at what it is called with; with no rows or too many, the one in the file."""
        if not self.runs_native_code_for(inputs):
            return self._source.run(inputs, wants_gradient)
        with timed(FORWARD):
            given = [each.detach() for each in inputs.arguments]
            self._check(given)
            seed = seed_of(inputs.n_rows, inputs.contributing_rows, given[-1], self._energies)
            try:
                with self._turn:
                    energies, gradient = self._runner.run(self._with_enough_rows([*given, seed], inputs.n_rows))
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise MemoryError(reason_of(error)) from error
                if is_exchanging():
                    raise DriverError(
                        f"native code of {self.file_name} has failed: {reason_of(error)}; set KIM_TORCHML_COMPILE=never"
                    ) from error
                # Native code names a place in generated sources; the program itself names the operator, or goes on.
                result = self._source.run(inputs, wants_gradient)
                self._has_failed = True
                notices.warn_of_rank(
                    find_rank(),
                    f"native code of {self.file_name} has failed, and the program itself has not, which runs from now "
                    f"on: {reason_of(error)}",
                )
                return result
        return ProgramResult(energies[: inputs.n_rows], gradient if wants_gradient else None, None)

    def runs_native_code_for(self, inputs: ProgramInputs) -> bool:
        """Return whether native code is called for some inputs: it may exchange more often than the program itself."""
        # It was not compared for no rows: many a program cannot be called without.
        is_of_its_size = inputs.n_rows > 0 and max(inputs.n_rows, inputs.leaf.shape[0]) <= self._most
        return is_of_its_size and not self._has_failed

    def _with_enough_rows(self, given: list[torch.Tensor], n_rows: int) -> list[torch.Tensor]:
        """Return what native code is called with: where there are too few rows, with one more, which does not count."""
        if n_rows >= self._fewest_rows:
            return given
        # The first argument has a species code for each row, and the last one is the seed.
        rows = self._arguments[0].sizes[0]
        have_rows = [*(argument.sizes[0] == rows for argument in self._arguments), True]
        return [
            torch.cat([each, torch.zeros_like(each)]) if has_rows else each
            for each, has_rows in zip(given, have_rows, strict=True)
        ]

    def _check(self, given: Sequence[torch.Tensor]) -> None:
        sizes = check_inputs(given, self._arguments, self.dtype, self.device, self.file_name)
        for argument, tensor in zip(self._arguments, given, strict=True):
            if argument.below is not None:
                check_indices(tensor, sizes[argument.below], argument.name, self.file_name)
        if self._n_of_tables is not None:
            check_indices(given[0], self._n_of_tables, self._arguments[0].name, self.file_name)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers as the model file has them."""
        return self._source.tensors()

    def argument_names(self) -> Sequence[str]:
        """Return the names of forward's arguments."""
        return self._source.argument_names()

    def tables(self) -> Sequence[Table]:
        """Return the tables that forward's first argument is an index of."""
        return self._source.tables()

    def attribute(self, name: str) -> Any:
        """Return a value that the model's author has stored under a name; None if there is none."""
        return self._source.attribute(name)

    def with_tensors(self, tensors: Mapping[str, torch.Tensor]) -> Program:
        """Return the uncompiled program with other values of some tensors."""
        return self._source.with_tensors(tensors)

    @property
    def uncompiled(self) -> Program:
        """The program that it was compiled from."""
        return self._source

    def in_double_precision(self) -> Program:
        """Return the uncompiled program in double precision."""
        return self._source.in_double_precision()

    def file_content(self, original: bytes) -> bytes:
        """Return the model file."""
        return self._source.file_content(original)


def _runner_of(library: Path, device: torch.device) -> Any:
    """Return torch's runner of native code, which several threads may use: they take turns."""
    if device.type == "cuda":
        return torch._C._aoti.AOTIModelContainerRunnerCuda(str(library), 1, str(device), str(library.parent))
    return torch._C._aoti.AOTIModelContainerRunnerCpu(str(library), 1)
