# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model file out of a module: a program of torch.export where that does the same as the module, else TorchScript."""

import threading
from dataclasses import dataclass
from pathlib import Path

import torch

from kim_torchml.driver.host_modes import without_host_modes
from kim_torchml.engines import Program, open_program
from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.gradient import gradient_by_leaf
from kim_torchml.errors import DriverError
from kim_torchml.inputs import EdgeInputs, InputKind, ModelInputs
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.package.example_inputs import example_inputs
from kim_torchml.tools.package.exporting import NotExportableError, exported, file_of, without_traces
from kim_torchml.tools.package.given_module import check_given, device_of, evaluated, floating_types_of
from kim_torchml.tools.package.scripting import script_of
from kim_torchml.tools.package.traps import doubts_about, line_of_refused
from kim_torchml.tools.package.wording import EXPORTED_FILE, SCRIPT_FILE

EXPORTED, SCRIPTED = "pt2", "pt"

# Numbers of rows and edges that a program and its module are compared for: some that code may take for special, and
# some with more and fewer of each than in the example that the program was made with.
_COMPARED = ((0, 0), (1, 0), (2, 2), (5, 0), (3, 17), (61, 1201))
# Both call the same operators in the same order.
_ALLOWED = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.2}
# Torch's export changes what belongs to the whole process.
_ONE_AT_A_TIME = threading.Lock()
# What torch.export does silently.
_LOST = {
    "energies": "keeps one branch of an `if` on sizes, and runs once what is not made of tensors",
    "gradients": "drops the `backward` of a torch.autograd.Function, and keeps one branch of an `if` on sizes",
}


@dataclass(frozen=True)
class ProgramFile:
    """A model file that is to be written.

    Attributes:
        name: its name in the model's folder; the suffix says its format.
        content: its bytes.
        notes: why it has this format, if that needs a word, a line each.
        doubts: what its author should know of the program, a sentence each.
    """

    name: str
    content: bytes
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def program_file_of(
    module: torch.nn.Module, inputs: InputKind, file_format: str | None, progress: LateProgress
) -> ProgramFile:
    """Return the model file of a module.

    Args:
        module: The module; it stays as it is.
        inputs: Builder of its inputs.
        file_format: "pt2" or "pt"; None for "pt2" where that can be made, and "pt" where it cannot.
        progress: What to tell how far this is.
    Raises:
        DriverError: If the module cannot be saved in that format, or in none.
    """
    check_given(module)
    name = type(module).__name__
    if file_format == SCRIPTED or (file_format is None and not _can_be_expected(module, inputs)):
        progress("scripting the module", 0.0)
        return ProgramFile(SCRIPT_FILE, script_of(module))
    try:
        return _exported_file(module, inputs, progress)
    except NotExportableError as error:
        not_exported = f"the module {name} cannot be saved as {EXPORTED_FILE}: {error}"
        if file_format == EXPORTED:
            raise DriverError(not_exported) from error
    progress("scripting the module", 0.0)
    try:
        content = script_of(module)
    except DriverError as error:
        raise DriverError(f"{not_exported}. Nor can it be saved as {SCRIPT_FILE}: {error}") from error
    return ProgramFile(SCRIPT_FILE, content, (f"{SCRIPT_FILE} is TorchScript, as {not_exported}",))


def _can_be_expected(module: torch.nn.Module, inputs: InputKind) -> bool:
    """Return whether an author can expect a program of torch.export."""
    return isinstance(inputs, EdgeInputs) and not isinstance(module, torch.jit.ScriptModule)


def _exported_file(module: torch.nn.Module, inputs: InputKind, progress: LateProgress) -> ProgramFile:
    """Return the model file as a program of torch.export that gives what the module gives.

    Raises:
        NotExportableError: If there is none.
    """
    if not isinstance(inputs, EdgeInputs):
        raise NotExportableError(f"programs of torch.export are for the kind edges, not {inputs.model.kind.lower()}")
    if isinstance(module, torch.jit.ScriptModule):
        raise NotExportableError("it is TorchScript already; give the module that it was made from")
    with _ONE_AT_A_TIME:
        return _compared_file(module, inputs, _dtype_of(module, inputs), progress)


def _compared_file(
    module: torch.nn.Module, inputs: EdgeInputs, dtype: torch.dtype, progress: LateProgress
) -> ProgramFile:
    """Return the model file, after it has been compared with the module; see _exported_file."""
    progress("exporting the module", 0.0)
    program = exported(module, inputs, dtype)
    content = file_of(program)
    progress("comparing the exported program with the module", 0.0)
    try:
        opened = open_program(content, EXPORTED_FILE, device_of(module), inputs.signature)
    except DriverError as error:
        raise NotExportableError(f"{error}{line_of_refused(str(error), program)}") from error
    _check_same(module, opened, inputs, dtype)
    return ProgramFile(EXPORTED_FILE, content, doubts=tuple(doubts_about(program, dtype)))


def _dtype_of(module: torch.nn.Module, inputs: InputKind) -> torch.dtype:
    """Return the type of a module's floating inputs."""
    if inputs.signature.dtype is not None:
        return inputs.signature.dtype
    found = floating_types_of(module) or [torch.float64]
    if len(found) > 1 or found[0] not in _ALLOWED:
        raise NotExportableError(f"its tensors are of {' and '.join(map(str, found))}; say the `dtype` of its inputs")
    return found[0]


@without_host_modes
def _check_same(module: torch.nn.Module, program: Program, inputs: EdgeInputs, dtype: torch.dtype) -> None:
    """Check that a program gives the energies and gradients of its module, whatever the sizes.

    Raises:
        NotExportableError: If it does not: torch.export drops what its example does not come across.
    """
    failure = ""
    count = 0
    for n_rows, n_edges in _COMPARED:
        given = [example_inputs(inputs, n_rows, n_edges, dtype, device_of(module)) for _ in range(2)]
        try:
            expected = _of_module(module, given[0])
        # The code is the author's, and may raise anything. What the driver needs is checked later.
        except Exception as error:
            failure = reason_of(error)
            continue
        count += 1
        if expected is None:
            continue
        where = f"for {n_rows} rows and {n_edges} edges"
        try:
            result = program.run(given[1], wants_gradient=True)
        except (DriverError, MemoryError) as error:
            raise NotExportableError(f"the exported program fails {where}, and the module does not: {error}") from error
        for what, unit, found, wanted in zip(
            ("energies", "gradients"), ("eV", "eV/Å"), (result.energies, result.gradient), expected, strict=True
        ):
            difference = _difference(found, wanted)
            if not difference <= _ALLOWED[dtype]:
                raise NotExportableError(
                    f"the {what} of the exported program differ by {difference:.1g} {unit} from the module's {where}; "
                    f"torch.export {_LOST[what]}"
                )
    if not count:
        raise NotExportableError(f"it cannot be compared with the module, which fails for every example: {failure}")


def _of_module(module: torch.nn.Module, inputs: ModelInputs) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return energies and gradient as the module gives them; None if it returns no tensor, which is told later."""
    with evaluated(module):
        returned = module(*inputs.arguments)
    energies = returned[0] if isinstance(returned, tuple) else returned
    return (energies.detach(), gradient_by_leaf(energies, inputs)) if isinstance(energies, torch.Tensor) else None


def _difference(found: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    """Return the largest difference, relative to the largest value where that is above 1; NaN is equal to NaN.

    What does not depend on the edge vectors has no gradient, which counts as zeros.
    """
    if found is None or expected is None:
        return max(
            (float(each.abs().max()) for each in (found, expected) if each is not None and each.numel()), default=0.0
        )
    if found.shape != expected.shape:
        return float("inf")
    differences = torch.where(found.isnan() & expected.isnan(), 0.0, (found - expected).abs())
    scale = expected.nan_to_num().abs()
    return float(differences.max() / scale.max().clamp(min=1.0)) if found.numel() else 0.0


def packaged(file: Path) -> ProgramFile:
    """Return a file that an author has saved as the model file of a folder.

    A program of torch.export loses the traces of its author's code and the examples of inputs.

    Raises:
        DriverError: If it is said to be a program of torch.export, and is none.
    """
    content = file.read_bytes()
    if file.suffix == f".{EXPORTED}":
        return ProgramFile(EXPORTED_FILE, without_traces(content, EXPORTED_FILE))
    return ProgramFile(SCRIPT_FILE, content)
