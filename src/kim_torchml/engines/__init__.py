# SPDX-License-Identifier: LGPL-2.1-or-later
"""Model files as programs that can be called: one folder for each file format, registered here under its suffix."""

from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

import torch

from kim_torchml.engines.contract import CallSignature, Program
from kim_torchml.engines.exported.compiled.build import Progress, Say
from kim_torchml.engines.exported.compiled.cache import Cache
from kim_torchml.engines.exported.compiled.choice import UNCOMPILED, Choice, chosen, compiled_program
from kim_torchml.engines.exported.compiled.entry import CacheEntry
from kim_torchml.engines.exported.compiled.errors import NotCompiledError
from kim_torchml.engines.exported.compiled.key import why_not_here
from kim_torchml.engines.exported.compiled.program import CompiledProgram
from kim_torchml.engines.exported.description import describe_exported, looks_exported
from kim_torchml.engines.exported.program import ExportedProgram, open_exported
from kim_torchml.engines.facts import ProgramFacts
from kim_torchml.engines.torchscript.description import describe_torchscript
from kim_torchml.engines.torchscript.program import open_torchscript


class Engine(NamedTuple):
    """What runs the files of one format.

    Attributes:
        open: function that opens a file; see open_program.
        describe: function that describes one; see describe_program.
    """

    open: Callable[[bytes, str, torch.device, CallSignature], Program]
    describe: Callable[[bytes, str], ProgramFacts]


ENGINES = {
    ".pt": Engine(open_torchscript, describe_torchscript),
    ".pt2": Engine(open_exported, describe_exported),
}


def open_program(content: bytes, file_name: str, device: torch.device, signature: CallSignature) -> Program:
    """Open a model file.

    Args:
        content: The file's bytes.
        file_name: Its name, which says its format by its suffix and stands in messages.
        device: Where the program's tensors are to be.
        signature: What the program is to be called with.
    Returns:
        The program, shared with nobody.
    Raises:
        DriverError: If the file is damaged or not of its format, uses an operator that is missing or not allowed, or
            does not take what the signature says.
    """
    return ENGINES[PurePath(file_name).suffix].open(content, file_name, device, signature)


def prepared(program: Program, content: bytes, signature: CallSignature, name: str, word: str, say: Say) -> Choice:
    """Return what is run of a program: as its file has it, or compiled where its format allows that.

    Args:
        program: The program.
        content: The file's bytes.
        signature: What it is called with.
        name: Name of the model or its file, for people.
        word: One of `process.settings.COMPILE_WORDS`.
        say: Is called with how far compiling is.
    """
    if isinstance(program, ExportedProgram):
        return chosen(program, content, signature, name, word, say)
    return Choice(program, "")


def describe_program(content: bytes, file_name: str) -> ProgramFacts:
    """Return what a model file shows that stands alone; it is not called.

    Args:
        content: The file's bytes.
        file_name: Its name, which says its format by its suffix; where it has another suffix, its content says it.
    Returns:
        What it shows; why it would not be run is part of that where it can be described all the same.
    Raises:
        DriverError: If the file is damaged or not of its format.
        MemoryError: If there is not enough memory.
    """
    suffix = PurePath(file_name).suffix
    if suffix not in ENGINES:
        suffix = ".pt2" if looks_exported(content) else ".pt"
    return ENGINES[suffix].describe(content, file_name)


__all__ = [
    "ENGINES",
    "UNCOMPILED",
    "Cache",
    "CacheEntry",
    "Choice",
    "CompiledProgram",
    "Engine",
    "NotCompiledError",
    "Program",
    "Progress",
    "Say",
    "compiled_program",
    "describe_program",
    "open_program",
    "prepared",
    "why_not_here",
]
