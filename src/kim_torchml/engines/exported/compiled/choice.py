# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which of the two a process runs: a program as its file has it, or what this machine has compiled of it."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from kim_torchml.engines.contract import CallSignature, Program
from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.exported.compiled.build import Say, Wanted, compiled_entry
from kim_torchml.engines.exported.compiled.cache import MAKE_ANEW, Cache
from kim_torchml.engines.exported.compiled.entry import CacheEntry
from kim_torchml.engines.exported.compiled.key import Key, key_of
from kim_torchml.engines.exported.compiled.program import CompiledProgram
from kim_torchml.engines.exported.compiled.request import ENERGY_TYPES
from kim_torchml.errors import DriverError, shortened
from kim_torchml.process import settings

UNCOMPILED = "not compiled"


@dataclass(frozen=True)
class Choice:
    """What is run.

    Attributes:
        program: the program.
        how: "compiled" or "not compiled", for people.
        advice: what its user should know, in one sentence; empty where there is nothing.
        awaited: where a compiled program will be once somebody has made it; None where nothing is waited for.
    """

    program: Program
    how: str
    advice: str = ""
    awaited: Path | None = None


def chosen(program: Program, content: bytes, signature: CallSignature, name: str, word: str, say: Say) -> Choice:
    """Return the faster of a program and its compiled form, as far as that is there or may be made.

    Whatever fails, the program itself is run.

    Args:
        program: The program, as its file has it.
        content: The file's bytes.
        signature: What it is called with.
        name: Name of the model or its file, for people.
        word: One of `settings.COMPILE_WORDS`.
        say: Is called with how far compiling is.
    """
    if word == settings.NEVER:
        return Choice(program, UNCOMPILED)
    if program.device.type == "cuda" and settings.wants_determinism():
        problem = f"native code of a GPU adds in any order, and {settings.DETERMINISTIC} asks for the same bits"
        return Choice(program, UNCOMPILED, _advice(program, problem))
    try:
        cache = Cache(settings.cache_folder())
        key = _key(program, content, signature)
        entry, problem = cache.find(key)
        if entry is None and word == settings.NOW:
            wanted = Wanted(key, content, program.file_name, name, program.device, signature)
            entry, problem = compiled_entry(cache, wanted, say), ""
        if entry is None:
            return Choice(program, UNCOMPILED, _advice(program, problem), None if problem else cache.place_of(key))
        threads = torch.get_num_threads()
        if entry.speed_up_with(threads) <= 1.0:
            return Choice(program, f"{UNCOMPILED}, which is faster here")
        return _loaded(program, entry, signature, threads)
    except DriverError as error:
        return Choice(program, UNCOMPILED, _advice(program, str(error)))
    # The program itself can be run whatever it is: folders on networks fail in many ways, and compilers too.
    except Exception as error:
        problem = f"it cannot be compiled or loaded here ({type(error).__name__}: {shortened(str(error))})"
        return Choice(program, UNCOMPILED, _advice(program, problem))


def compiled_program(
    program: Program, content: bytes, signature: CallSignature, name: str, say: Say, force: bool
) -> tuple[CacheEntry, bool]:
    """Return the cache's entry for a program, and whether it was compiled just now.

    Args:
        program: The program, opened for the device that it is compiled for.
        content: Its file's bytes.
        signature: What it is called with.
        name: Name of the model, for people.
        say: Is called with how far the work is.
        force: Whether to compile it anew where there is an entry.
    Raises:
        NotCompiledError: If it cannot be compiled.
        DriverError: If the cache cannot be used.
    """
    asked = time.time()
    key = _key(program, content, signature)
    wanted = Wanted(key, content, program.file_name, name, program.device, signature)
    entry = compiled_entry(Cache(settings.cache_folder()), wanted, say, force)
    return entry, entry.made >= asked


def _loaded(program: Program, entry: CacheEntry, signature: CallSignature, threads: int) -> Choice:
    energies = ENERGY_TYPES[entry.facts.energies]
    try:
        compiled = CompiledProgram(program, entry.library, energies, signature)
    except (RuntimeError, OSError) as error:
        return Choice(
            program, UNCOMPILED,
            _advice(program, f"{entry.folder} cannot be loaded ({reason_of(error)}); {MAKE_ANEW}"),
        )  # fmt: skip
    return Choice(compiled, f"compiled (program x {entry.speed_up_with(threads):.1f})")


def _advice(program: Program, problem: str) -> str:
    """Return what the user of a program that is not compiled should know."""
    if problem:
        return f"{program.file_name} runs {UNCOMPILED}: {problem}"
    return (
        f"{program.file_name} runs {UNCOMPILED}: `kim-torchml compile`, with the model's name, makes native code of it,"
        " mostly 1.4 to 4 times as fast"
    )


def _key(program: Program, content: bytes, signature: CallSignature) -> Key:
    leaf = [each.name for each in signature.arguments].index(signature.leaf)
    return key_of(content, program.dtype, leaf, program.device)
