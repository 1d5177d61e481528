# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of the environment variables that steer the driver."""

from pathlib import Path

from kim_torchml.driver.stores import stores_of_process
from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.tools.doctor.finding import Finding, ok, problem, warning
from kim_torchml.tools.doctor.folders import why_no_files_in
from kim_torchml.tools.doctor.machine import Machine


def check_python_variable(machine: Machine) -> list[Finding]:
    """Check that KIM_TORCHML_PYTHON names a Python that runs, of the version that the driver was built for."""
    chosen = machine.chosen_python
    if not chosen:
        return []
    reason = machine.why_chosen_python_fails()
    if reason:
        found = f"it must name a Python that the driver can run in, but {reason}"
        advice = "Correct it, or let the driver use the one it was built for:"
        return [problem(settings.PYTHON, found, advice, f"unset {settings.PYTHON}")]
    return [ok(settings.PYTHON, f"{chosen} (Python {machine.environment_of(Path(chosen)).version})")]


def check_python_home(machine: Machine) -> list[Finding]:
    """Check that PYTHONHOME is not set, which would keep the Python of the driver from starting."""
    home = machine.variables.get("PYTHONHOME", "")
    if not home:
        return []
    found = f"it is set to '{home}', so Python looks for its own files there: the driver's does not start in LAMMPS"
    return [problem("PYTHONHOME", found, "Remove it:", "unset PYTHONHOME")]


def check_switches(machine: Machine) -> list[Finding]:
    """Check that variables that are on or off have a value that says which."""
    return [
        warning(name, reason, "Correct or remove it:", f"export {name}=1", f"unset {name}")
        for name in settings.SWITCHES
        if (reason := settings.why_no_switch(name, machine.variables.get(name, "")))
    ]


def check_on_error(machine: Machine) -> list[Finding]:
    """Check that KIM_TORCHML_ON_ERROR says what is to happen after an error."""
    text = machine.variables.get(settings.ON_ERROR, "").strip()
    if not text:
        return []
    if text.lower() not in settings.ON_ERROR_WORDS:
        found = f"it must be exit or return, got '{text}', which counts as return"
        return [problem(settings.ON_ERROR, found, "Correct it:", f"export {settings.ON_ERROR}=exit")]
    return [ok(settings.ON_ERROR, text)]


def check_compile_word(machine: Machine) -> list[Finding]:
    """Check that KIM_TORCHML_COMPILE is a word that says whether compiled programs are used."""
    return _check_word(machine, settings.COMPILE, settings.CACHED)


def check_edges_word(machine: Machine) -> list[Finding]:
    """Check that KIM_TORCHML_EDGES is a word that says whether images are folded."""
    return _check_word(machine, settings.EDGES, settings.AUTO)


def check_communicator_word(machine: Machine) -> list[Finding]:
    """Check that KIM_TORCHML_COMMUNICATOR is a word that says which ranks wait for each other."""
    return _check_word(machine, settings.COMMUNICATOR, settings.KNOWN)


def _check_word(machine: Machine, name: str, default: str) -> list[Finding]:
    text = machine.variables.get(name, "")
    if not text.strip():
        return []
    if reason := settings.why_no_word(name, text):
        remedy = (f"export {name}={default}", f"unset {name}")
        return [problem(name, f"no model can be opened: {reason}", "Correct it, or remove it:", *remedy)]
    return [ok(name, text.strip().lower())]


def check_cache_variable(machine: Machine) -> list[Finding]:
    """Check that KIM_TORCHML_CACHE names an absolute path."""
    text = machine.variables.get(settings.CACHE, "")
    try:
        settings.cache_folder(machine.variables)
    except DriverError:
        # Without the variable it is the home folder that is missing, which check_compiling.py reports.
        if text:
            found = f"it must be an absolute path, got '{text}': nothing that was compiled is used"
            remedy = (f'export {settings.CACHE}="$HOME/kim-torchml-compiled"', f"unset {settings.CACHE}")
            return [problem(settings.CACHE, found, "Correct it, or remove it:", *remedy)]
    return []


def check_threads(machine: Machine) -> list[Finding]:
    """Check that the numbers of threads are whole numbers, and that OMP_NUM_THREADS is set."""
    findings = []
    for name, text in (
        (name, machine.variables.get(name, "").strip()) for name in ("OMP_NUM_THREADS", settings.THREADS)
    ):
        # OpenMP allows a list here, with one number for each level of nesting.
        first = text.split(",")[0].strip() if name == "OMP_NUM_THREADS" else text
        if text and settings.count_of(first) is None:
            found = f"it must be a whole number, 1 or more, got '{text}'"
            findings.append(problem(name, found, "Correct it:", f"export {name}=1"))
        elif text:
            findings.append(ok(name, text))
    if "OMP_NUM_THREADS" not in machine.variables:
        found = "it is not set: a process alone on its machine uses all cores, which is slow where others use them too"
        findings.append(
            warning("OMP_NUM_THREADS", found, "Say how many threads each process may use:", "export OMP_NUM_THREADS=1")
        )
    return findings


def check_dump_folder(machine: Machine) -> list[Finding]:
    """Check that failures can be saved in the folder that KIM_TORCHML_DUMP names."""
    text = machine.variables.get(settings.DUMP, "")
    if not text:
        return []
    folder = Path(text)
    if reason := why_no_files_in(folder.absolute()):
        found = f"failures cannot be saved in '{text}': {reason}"
        return [
            problem(
                settings.DUMP, found, "Name a folder that you can write:", f"export {settings.DUMP}=~/kim-torchml-dump"
            )
        ]
    return [ok(settings.DUMP, f"failures are saved in {text}")]


def check_stores(machine: Machine) -> list[Finding]:
    """Check that the stores of model files can be read; the user's own need not be there."""
    findings = []
    for store in stores_of_process(machine.variables):
        reason = store.why_not_usable()
        if store.is_private and not store.folder.exists() and not store.folder.is_symlink():
            continue
        name = "model store" if store.is_private else settings.MODEL_PATH
        if reason:
            found = f"model files cannot be taken from '{store.folder}': {reason}"
            remedy = f"chmod go-w {store.folder}" if store.is_private else f"unset {settings.MODEL_PATH}"
            findings.append(problem(name, found, "Correct that, or name another folder:", remedy))
        else:
            findings.append(ok(name, str(store.folder)))
    return findings
