# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of what compiling models needs: a compiler, a cache, and a small program that is compiled and run.

Where models cannot be compiled they run all the same, so that this is worth a warning; native code that others can
change is a problem.
"""

import json
from pathlib import Path
from typing import Any

import kim_torchml
from kim_torchml.errors import DriverError, shortened
from kim_torchml.process import settings
from kim_torchml.process.cache_folder import entry_folders, flaw_of, why_nothing_compiles_in
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, is_older
from kim_torchml.tools.doctor.finding import Finding, Status, ok, problem, skipped, warning
from kim_torchml.tools.doctor.folders import holds_programs, why_no_files_in
from kim_torchml.tools.doctor.machine import Machine
from kim_torchml.tools.file_size import file_size
from kim_torchml.tools.programs.run_program import last_line, run_program
from kim_torchml.tools.programs.temporary_folder import temporary_folder

_PROBE = Path(__file__).with_name("probe_compiling.py")
# Importing torch from a slow file system takes a minute, and compiling on a machine with other work a few, s.
_TIME_LIMIT = 600.0
# What torch compiles with unless the variable CXX says otherwise.
_COMPILER = "g++"
_ELSEWHERE = f'export {settings.CACHE}="$HOME/kim-torchml-compiled"'
_UNCOMPILED = "models that are .pt2 files run uncompiled"


def check_compiler(machine: Machine) -> list[Finding]:
    """Check that the compiler runs that torch takes."""
    if reason := _why_left_out(machine):
        return [skipped("compiling", reason)]
    return [_compiler(machine)]


def check_cache(machine: Machine) -> list[Finding]:
    """Check that nobody else can change what was compiled, and that more can be added."""
    return [] if _why_left_out(machine) else [_cache(machine)]


def check_compiling(machine: Machine) -> list[Finding]:
    """Check that a small program can be compiled and run in each environment that the driver may run in."""
    if _why_left_out(machine):
        return []
    if _cache(machine).status is not Status.OK:
        return [skipped("compiling", "needs a cache that can be used")]
    if _compiler(machine).status is not Status.OK:
        return [skipped("compiling", "needs a C++ compiler; what is in the cache is run without one")]
    return [_compiling(machine, python) for python in machine.pythons]


def _why_left_out(machine: Machine) -> str:
    """Return why nothing of compiling is checked, or an empty string."""
    if settings.why_no_word(settings.COMPILE, machine.variables.get(settings.COMPILE, "")):
        return f"needs a word that {settings.COMPILE} may be"
    word = settings.compile_word(machine.variables)
    return f"{settings.COMPILE} is {word}: {_UNCOMPILED}" if word == settings.NEVER else ""


def _compiler(machine: Machine) -> Finding:
    named = machine.variables.get("CXX")
    program = _COMPILER if named is None else named
    path = machine.which(program)
    install = "sudo apt-get install g++   # Debian, Ubuntu"
    if path is None and named is None:
        found = f"there is no {program} on PATH, so that nothing can be compiled: {_UNCOMPILED}"
        advice = "Install it, or name another C++ compiler in CXX:"
        return warning("compiler", found, advice, install)
    # Torch takes all of the variable for the name of a program.
    if path is None:
        found = f"CXX is '{named}', which is no program, so that nothing can be compiled: {_UNCOMPILED}"
        return warning("compiler", found, f"Correct it, or let torch take {_COMPILER}:", "unset CXX")
    outcome = run_program([path, "--version"], machine.variables)
    if outcome.failure:
        found = f"{path} does not run, so that nothing can be compiled: {outcome.failure}"
        return warning("compiler", found, "Install it again:", install)
    return ok("compiler", f"{path}, {shortened((outcome.stdout.splitlines() or ['of no version'])[0], 100)}")


def _cache(machine: Machine) -> Finding:
    name = "cache of compiled models"
    try:
        folder = settings.cache_folder(machine.variables)
    except DriverError as error:
        if machine.variables.get(settings.CACHE):
            return skipped(name, f"needs an absolute path in {settings.CACHE}")
        found = f"it has no place, so that nothing can be compiled: {error}"
        return warning(name, found, "Give it one:", f'export {settings.CACHE}="$PWD/kim-torchml-compiled"')
    if flaw := flaw_of(folder):
        found = f"what is in '{folder}' is not run: {flaw.reason}"
        if not flaw.command:
            return problem(name, found, "Name another folder:", _ELSEWHERE)
        advice = "Make it yours alone; what others may have put there should go, and can be compiled again:"
        return problem(name, found, advice, flaw.command, "kim-torchml cache --clear")
    if reason := why_nothing_compiles_in(folder):
        home = machine.variables.get("HOME", "")
        command = f"export {settings.CACHE}=/a/folder/of/yours" if why_nothing_compiles_in(Path(home)) else _ELSEWHERE
        return warning(name, f"nothing can be compiled in it: {reason}", "Name another folder:", command)
    if reason := why_no_files_in(folder):
        found = f"'{folder}' cannot be written, so that nothing can be added: {reason}"
        return warning(name, found, "Make room there, or name another folder:", _ELSEWHERE)
    if not folder.exists():
        return ok(name, f"{folder}, which is made when the first model is compiled")
    if not holds_programs(folder):
        found = f"'{folder}' is on a file system mounted noexec, so that nothing in it can be run"
        return warning(name, found, "Name a folder elsewhere:", _ELSEWHERE)
    entries = list(entry_folders(folder))
    size = sum(path.stat().st_size for entry in entries for path in entry.rglob("*") if path.is_file())
    return ok(name, f"{folder}, {len(entries)} compiled, {file_size(size)}")


def _compiling(machine: Machine, python: Path) -> Finding:
    name = "compiling"
    for needed in ("torch", "numpy"):
        package = machine.package(python, needed)
        if not package.version or package.failure:
            return skipped(name, f"needs {needed} in the environment of {python}")
    version = machine.package(python, "torch").version
    if is_older(version, OLDEST_EXPORTING_TORCH):
        found = f"writing a small program to compile needs torch {OLDEST_EXPORTING_TORCH}, got {version} ({python})"
        return skipped(name, found)
    machine.say("compiling a small program: half a minute, or more")
    facts, failure = _compile_with(machine, python)
    where = f"(torch {version}, {python})"
    if not facts or "failed" in facts:
        reason = facts.get("failed") or shortened(failure)
        advice = f"Until that is mended {_UNCOMPILED}; to leave it at that:"
        found = f"a small program could not be compiled and run {where}: {reason}"
        return warning(name, found, advice, f"export {settings.COMPILE}={settings.NEVER}")
    if facts["is_new"]:
        return ok(
            name, f"a small program was compiled and run in {facts['seconds']:.0f} s for {facts['device']} {where}"
        )
    return ok(name, f"a small program that is in the cache was run for {facts['device']} {where}")


def _compile_with(machine: Machine, python: Path) -> tuple[dict[str, Any], str]:
    """Return what the script says that compiles a small program, or nothing and why it says nothing."""
    # The Python of this environment may not start with PYTHONHOME.
    variables = {each: value for each, value in machine.variables.items() if each != "PYTHONHOME"}
    command: list[str | Path] = [python, "-X", "faulthandler", _PROBE, Path(kim_torchml.__file__).parents[1]]
    try:
        # Torch makes folders of its own among the temporary files.
        with temporary_folder("kim-torchml-doctor-") as folder:
            outcome = run_program(command, variables | {"TMPDIR": str(folder)}, time_limit=_TIME_LIMIT)
    except OSError as error:
        return {}, f"there is no room for temporary files ({error.strerror})"
    answer = last_line(outcome.stdout)
    if outcome.failure or not answer.startswith("{"):
        return {}, outcome.failure or "it printed nothing"
    facts: dict[str, Any] = json.loads(answer)
    return facts, ""
