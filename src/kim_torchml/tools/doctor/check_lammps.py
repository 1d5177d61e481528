# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that LAMMPS was built with KIM, with the same KIM-API, and with a Python that the driver can run in."""

import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kim_torchml.process.oldest_versions import OLDEST_TORCH
from kim_torchml.tools.doctor.finding import Finding, ok, problem, skipped, warning
from kim_torchml.tools.doctor.machine import Machine
from kim_torchml.tools.doctor.remedies import IN_FOLDER_OF_CLONE, driver_commands, new_environment
from kim_torchml.tools.kim_collections.installed_drivers import InstalledDriver
from kim_torchml.tools.kim_collections.kim_api import MANAGER, linked_library
from kim_torchml.tools.output_file import why_no_new_file_in
from kim_torchml.tools.programs.run_program import ProgramOutcome, run_program

_GET_LAMMPS = (
    "sudo apt-get install lammps   # Debian, Ubuntu",
    "conda install -c conda-forge lammps   # conda",
)


def check_lammps(machine: Machine) -> list[Finding]:
    """Check that LAMMPS can run the driver; without LAMMPS the check is skipped."""
    program = machine.which(machine.lammps)
    if program is None:
        found = f"there is no '{machine.lammps}' on PATH; only those who use LAMMPS need it"
        advice = "If it is there under another name: kim-torchml doctor --lammps NAME. To install it:"
        return [skipped("LAMMPS", found, advice, *_GET_LAMMPS)]
    help_text, without_room = _ask_for_help(machine, program)
    if without_room is not None and help_text.failure:
        return [without_room]
    if help_text.failure:
        advice = "Install LAMMPS again:"
        return [problem("LAMMPS", f"'{program} -h' fails: {help_text.failure}", advice, *_GET_LAMMPS)]
    packages = _installed_packages(help_text.stdout)
    if "KIM" not in packages:
        found = f"{program} was built without the package KIM: `kim init` and `pair_style kim` are unknown to it"
        advice = "Install a LAMMPS that has it, or configure your build with cmake -D PKG_KIM=on:"
        return [problem("LAMMPS", found, advice, *_GET_LAMMPS)]
    return [
        without_room or ok("LAMMPS", f"{program}, {_version(help_text.stdout)}, with the package KIM"),
        *_check_kim_library(machine, program),
        *_check_python_library(machine, program),
    ]


def _ask_for_help(machine: Machine, program: str) -> tuple[ProgramOutcome, Finding | None]:
    """Return how `lmp -h` ends, and a problem if it fails because its temporary folder cannot be written.

    In that case other temporary folders are tried, and the outcome is that of the first one in which LAMMPS starts.
    """
    outcome = run_program([program, "-h"], machine.variables)
    folder = Path(machine.variables.get("TMPDIR") or "/tmp")
    reason = why_no_new_file_in(folder)
    if not outcome.failure or not reason:
        return outcome, None
    # MPI writes files into the temporary folder as soon as it starts, so LAMMPS may have failed for want of one.
    fails = f"'{program} -h' fails, and the temporary folder '{folder}' cannot be written ({reason})"
    home = machine.variables.get("HOME", "")
    for elsewhere in (Path("/tmp"), Path("/var/tmp"), *([Path(home)] if home else []), Path("/dev/shm")):
        if why_no_new_file_in(elsewhere):
            continue
        with tempfile.TemporaryDirectory(dir=elsewhere, prefix="kim-torchml-doctor-") as trial:
            again = run_program([program, "-h"], {**machine.variables, "TMPDIR": trial})
        if again.failure:
            # LAMMPS fails in a sound folder too, so the folder is not the cause.
            return again, None
        advice = f"Mend the folder, as above, or choose another one; with one in '{elsewhere}' LAMMPS starts:"
        chosen = shlex.quote(f"{elsewhere}/kim-torchml-tmp")
        commands = (f"mkdir -p {chosen}", f"export TMPDIR={chosen}")
        return again, problem("LAMMPS", fails, advice, *commands)
    advice = "Mend the folder first, as above; then this shows whether LAMMPS is sound."
    return outcome, problem("LAMMPS", f"{fails}; nor can any other that was tried", advice)


def _version(help_text: str) -> str:
    match = re.search(r"Massively Parallel Simulator - (.+)", help_text)
    return match.group(1).strip() if match is not None else "of unknown version"


def _installed_packages(help_text: str) -> set[str]:
    match = re.search(r"^Installed packages:\s*\n\n((?:.+\n)*)", help_text, re.MULTILINE)
    return set() if match is None else set(match.group(1).split())


def _check_kim_library(machine: Machine, program: str) -> list[Finding]:
    name = "LAMMPS' KIM-API"
    library = linked_library(program, "libkim-api.so", machine.variables)
    if machine.kim_api is None or not library:
        return []
    if other := machine.other_kim_api(library):
        found = f"LAMMPS is linked with {library}, but KIM's tools with {other}: each has collections of its own"
        advice = f"Put the {MANAGER} that belongs to your LAMMPS first on PATH, and install driver and models with it."
        return [warning(name, found, advice)]
    return [ok(name, library)]


def _check_python_library(machine: Machine, program: str) -> list[Finding]:
    name = "LAMMPS' Python"
    library = linked_library(program, "libpython", machine.variables)
    match = re.search(r"libpython(\d+\.\d+)", library)
    if match is None:
        return [ok(name, "none: the driver brings its own"), *_drivers_without_libpython(machine)]
    version = match.group(1)
    findings = [
        _python_mismatch(machine, driver, version, library) for driver in machine.drivers if driver.python_version
    ]
    mismatches = [finding for finding in findings if finding is not None]
    return mismatches or [ok(name, f"{version} ({library})")]


def _python_mismatch(machine: Machine, driver: InstalledDriver, version: str, library: str) -> Finding | None:
    if driver.python_version == version:
        return None
    found = (
        f"LAMMPS is linked with Python {version} ({library}), but the driver {driver.name} was built for Python "
        f"{driver.python_version} ({driver.python}): they must be of the same version"
    )
    advice = f"Install the driver for an environment of Python {version}, {IN_FOLDER_OF_CLONE}"
    missing = () if machine.which(f"python{version}") else (f"python{version}", f"python{version}-venv")
    packages = (*missing, f"python{version}-dev")
    return problem(
        "LAMMPS' Python", found, advice, *_commands_for_new_environment(driver, f"python{version}", version, packages)
    )


def _commands_for_new_environment(
    driver: InstalledDriver, python: str, label: str, packages: Sequence[str]
) -> tuple[str, ...]:
    """Return the commands that install a driver for a new environment, made with a Python of the system.

    Args:
        driver: Driver to install again.
        python: Python to make the environment with.
        label: End of the name of the environment's folder.
        packages: Packages of the system that have to be installed first.
    """
    get = f"sudo apt-get install {' '.join(packages)}   # Debian, Ubuntu"
    new_python, make = new_environment(label, python)
    install = f"{new_python} -m pip install 'torch>={OLDEST_TORCH}' numpy"
    return (get, *make, install, *driver_commands(new_python, driver.name, driver.folder))


def _drivers_without_libpython(machine: Machine) -> list[Finding]:
    """Return a problem for each driver that has no shared library of Python to load into a LAMMPS without Python."""
    return [
        problem(
            "LAMMPS' Python",
            f"LAMMPS has no Python of its own, and the Python that {driver.name} was built for ({driver.python}) has "
            "no shared library to load",
            f"Install the driver for a Python that has libpython, {IN_FOLDER_OF_CLONE}",
            *_commands_for_new_environment(
                driver, "/usr/bin/python3", "system", ("python3", "python3-venv", "python3-dev")
            ),
        )
        for driver in machine.drivers
        if driver.record and not driver.python_library
    ]
