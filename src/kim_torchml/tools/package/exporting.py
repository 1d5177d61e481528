# SPDX-License-Identifier: LGPL-2.1-or-later
"""A module as the bytes of a torch.export program, with any numbers of rows and edges."""

import inspect
import io
import json
import logging
import re
import traceback
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, TypeGuard

import torch

from kim_torchml.driver.host_modes import without_host_modes
from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.exported.archive import open_archive
from kim_torchml.errors import shortened
from kim_torchml.inputs import Argument, EdgeInputs
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, is_older
from kim_torchml.tools.package.code_lines import in_brackets, line_of_error, line_of_frame
from kim_torchml.tools.package.example_inputs import example_inputs
from kim_torchml.tools.package.given_module import device_of, evaluated, with_attributes_kept
from kim_torchml.tools.package.wording import EXPORTED_FILE

# Sizes of the example that a program is made with. No tensor of a network should have one of them: a size of the
# example that equals another may be taken for it.
_PRIMES = (23, 29, 31, 37, 41, 43, 47, 53), (503, 509, 521, 523, 541, 547, 557, 563)
_DATE = (1980, 1, 1, 0, 0, 0)
# All entries of a file are in one folder, whose name is not to be a stranger's.
_FOLDER = "model"
# A size in the conditions that torch has found, such as L['species'].size()[0].
_SIZE = re.compile(r"L\['(\w+)'\]\.size\(\)\[(\d+)\]")
_LONGEST_REASON = 200


class NotExportableError(Exception):
    """A module that torch.export does not take; the text says why, with the line of its code where that is known."""


@without_host_modes
def exported(module: torch.nn.Module, inputs: EdgeInputs, dtype: torch.dtype) -> torch.export.ExportedProgram:
    """Return the program that torch.export makes of a module.

    Args:
        module: The module; it stays as it is.
        inputs: Builder of its inputs, whose sizes that change from call to call the program takes from 0 up.
        dtype: Type of its floating inputs.
    Raises:
        NotExportableError: If there is no such program.
    """
    if is_older(str(torch.__version__), OLDEST_EXPORTING_TORCH):
        raise NotExportableError(
            f"that needs torch {OLDEST_EXPORTING_TORCH} or newer, and this is torch {torch.__version__}"
        )
    example = tuple(example_inputs(inputs, *_sizes_for(module), dtype, device_of(module)).arguments)
    words = {word: torch.export.Dim(word, min=0) for each in inputs.arguments for word in each.sizes if _is_word(word)}
    with evaluated(module), with_attributes_kept(module), _quiet():
        try:
            return _export(module, example, inputs.arguments, words)
        # Torch raises errors of many types, and so may the author's code.
        except Exception as error:
            automatic = dict.fromkeys(words, torch.export.Dim.AUTO)
            reason = _condition_on_sizes(error, module, example, inputs.arguments, automatic) or _reason(error)
            raise NotExportableError(f"{reason}{_scripted_part(module)}") from error


def file_of(program: torch.export.ExportedProgram) -> bytes:
    """Return the .pt2 file of a program, without traces and paths of this machine.

    Raises:
        NotExportableError: If torch cannot save it.
    """
    buffer = io.BytesIO()
    with _quiet():
        try:
            torch.export.save(program, buffer)
        except Exception as error:
            raise NotExportableError(f"torch.export.save fails: {_first_line(error)}") from error
    return without_traces(buffer.getvalue(), EXPORTED_FILE)


def without_traces(content: bytes, file_name: str) -> bytes:
    """Return a .pt2 file without traces of its author's code, examples of inputs, and torch's own records.

    Args:
        content: The file's bytes.
        file_name: Its name, for messages.
    Raises:
        DriverError: If it is no such file.
    """
    archive = open_archive(content, file_name)
    model = f"models/{archive.model}.json"
    # The nodes must be objects, as they are changed; all else of the program is looked at by the driver.
    archive.json(model).object("graph_module").object("graph").objects("nodes")
    said = json.loads(archive.read(model))
    for node in said["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as result:
        for name in archive.entries:
            written = json.dumps(said, separators=(",", ":")).encode() if name == model else archive.read(name)
            if name.startswith("data/sample_inputs/"):
                # Torch's own loader wants the entry, and takes it for no examples where it is empty.
                written = b""
            if name != ".data/serialization_id":
                result.writestr(zipfile.ZipInfo(f"{_FOLDER}/{name}", _DATE), written)
    return buffer.getvalue()


def _export(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    arguments: Sequence[Argument],
    words: Mapping[str, Any],
) -> torch.export.ExportedProgram:
    sizes = tuple(
        {place: words[size] for place, size in enumerate(argument.sizes) if _is_word(size)} for argument in arguments
    )
    with _traces_of_helpers():
        # As torch binds the example, so that *args have a tuple of their own.
        bound = inspect.signature(module.forward).bind(*sizes).arguments
        program = torch.export.export(module, example, dynamic_shapes=tuple(bound.values()), strict=False)
    # Code asks for the shapes of tensors that it makes for nothing else, some with operators that no program may use.
    program.graph.eliminate_dead_code()
    return program


@contextmanager
def _traces_of_helpers() -> Iterator[None]:
    """Let torch keep with each node which line of which function it comes from, not only the line of forward."""
    tracer, name = torch.fx.proxy.TracerBase, "_filter_traceback_frames"
    before = getattr(tracer, name, None)
    if before is None:
        # This version keeps less.
        yield
        return

    def authors(self: Any, frames: traceback.StackSummary) -> traceback.StackSummary:
        return traceback.StackSummary.from_list([each for each in frames if line_of_frame(each)])

    setattr(tracer, name, authors)
    try:
        yield
    finally:
        setattr(tracer, name, before)


def _is_word(size: int | str) -> TypeGuard[str]:
    return isinstance(size, str)


def _sizes_for(module: torch.nn.Module) -> tuple[int, int]:
    """Return numbers of rows and edges that are sizes of none of the module's tensors."""
    taken = {size for tensor in (*module.parameters(), *module.buffers()) for size in tensor.shape}
    rows, edges = (next((each for each in sizes if each not in taken), sizes[0]) for sizes in _PRIMES)
    return rows, edges


def _condition_on_sizes(
    error: Exception,
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    arguments: Sequence[Argument],
    words: Mapping[str, Any],
) -> str | None:
    """Return why a module can be exported for some sizes alone; None if that is not what an error is about.

    Torch says which sizes, but not where. So the module is exported once more, for any sizes that it takes.
    """
    if "Constraints violated" not in str(error):
        return None
    try:
        program = _export(module, example, arguments, words)
    except Exception:
        # The first error is the one to tell.
        return None
    guards = list(getattr(_sizes_of(program), "guards", ()))
    conditions = list(getattr(program, "_guards_code", ()))
    if not guards or len(guards) != len(conditions):
        return None
    own_names = program.graph_signature.user_inputs
    sizes = {name: argument.sizes for name, argument in zip(own_names, arguments, strict=True)}
    for guard, condition in zip(guards, conditions, strict=True):
        named = [sizes[name][int(place)] for name, place in _SIZE.findall(condition) if name in sizes]
        if " == " in condition and len(named) == 2 and named[0] == named[1]:
            # Two arguments have one size by their signature.
            continue
        where = line_of_frame(getattr(guard.sloc, "framework_loc", None))
        told = _SIZE.sub(r"\1.shape[\2]", condition)
        return f"it can be exported with {told} alone{in_brackets(where)}; {_remedy(told)}"
    return None


def _sizes_of(program: torch.export.ExportedProgram) -> Any:
    """Return what torch has found out of the sizes in a program; None if it has kept nothing of it."""
    values = (node.meta.get("val") for node in program.graph.nodes)
    modes = (getattr(each, "fake_mode", None) for each in values)
    return next((mode.shape_env for mode in modes if mode is not None and mode.shape_env is not None), None)


def _remedy(condition: str) -> str:
    if re.fullmatch(r"(\w+)\.shape\[\d\] == \d+", condition):
        size = condition.partition(" ")[0]
        return f"write {size}, which may change, and take no number out of it, as len(..), int(..) and range(..) do"
    if re.search(r" == \d+$", condition):
        return "make no number of Python out of a size, as int(..), math.sqrt(..) and range(..) do"
    return "a program has no branches: compute both sides, and choose with torch.where"


def _reason(error: Exception) -> str:
    """Return what an error says, and the line of the author's code that it comes from."""
    where = line_of_error(error)
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        return (
            f"what it does next depends on the values in a tensor{in_brackets(where)}; a program has no branches, and "
            "no sizes out of .item(): compute both sides, and choose with torch.where"
        )
    return f"{_first_line(error)}{in_brackets(where)}"


def _scripted_part(module: torch.nn.Module) -> str:
    """Return the end of a reason for a module with a part that torch.export cannot look into; else nothing."""
    names = [name for name, each in module.named_modules() if isinstance(each, torch.jit.ScriptModule)]
    return f"; its part {names[0]} is TorchScript, which torch.export may not take: leave it in Python" if names else ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[0], _LONGEST_REASON).rstrip(". ") if lines else reason_of(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from telling of its own work: of an error it prints half of the program."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
