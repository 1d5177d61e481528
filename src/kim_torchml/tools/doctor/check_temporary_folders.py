# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of the temporary folders, where KIM builds what it installs, and unpacks the files of a model."""

import os
import shlex
from pathlib import Path

from kim_torchml.tools.doctor.finding import Finding, ok, problem, warning
from kim_torchml.tools.doctor.folders import free_bytes, holds_programs, is_folder
from kim_torchml.tools.doctor.machine import Machine
from kim_torchml.tools.output_file import why_no_new_file_in

# Building the driver takes some 30 MB; unpacking a model takes its size, and building it twice its size.
SCARCE_BYTES = 200 * 1024 * 1024

# KIM-API 2.3 unpacks models here, whatever TMPDIR says (seen with strace); later versions use TMPDIR.
SYSTEM_FOLDER = Path("/tmp")

_ELSEWHERE = ("mkdir -p ~/kim-build", "export TMPDIR=~/kim-build")


def check_temporary_folders(machine: Machine) -> list[Finding]:
    """Check that each folder can be written and has room, and that programs run in the folder used for building."""
    chosen = machine.variables.get("TMPDIR", "")
    findings = []
    if chosen and Path(chosen) != SYSTEM_FOLDER:
        findings.append(_check_folder("TMPDIR", Path(chosen), builds=True))
    findings.append(_check_folder("temporary folder", SYSTEM_FOLDER, builds=not chosen))
    return findings


def _check_folder(name: str, folder: Path, builds: bool) -> Finding:
    for_building = "KIM builds what it installs there"
    purpose = for_building if builds else "KIM unpacks models there"
    if not is_folder(folder):
        found = f"'{folder}' is not a folder; {purpose}"
        if os.path.lexists(folder):
            return problem(name, found, "Choose another:", *_ELSEWHERE)
        return problem(name, found, "Make it, or choose another:", f"mkdir -p {shlex.quote(str(folder))}", *_ELSEWHERE)
    free = free_bytes(folder)
    reason = why_no_new_file_in(folder)
    if reason:
        found = f"'{folder}' cannot be written ({reason}; {_megabytes(free)} free); {purpose}"
        return _problem_with(name, found, folder, builds)
    if builds and not holds_programs(folder):
        found = (
            f"'{folder}' is mounted noexec, so installing fails in KIM's own test ('shared_library_test ... "
            "(Failed)'); what is installed already runs"
        )
        return problem(name, found, "When you install, use a folder elsewhere:", *_ELSEWHERE)
    if free < SCARCE_BYTES:
        found = f"'{folder}' has only {_megabytes(free)} left; {purpose}, and large models need more"
        return warning(name, found, "See what can be deleted:", _sizes_in(folder))
    return ok(name, f"{folder}, {_megabytes(free)} free")


def _problem_with(name: str, found: str, folder: Path, builds: bool) -> Finding:
    look = (f"df -h {shlex.quote(str(folder))}", _sizes_in(folder))
    if builds and folder != SYSTEM_FOLDER:
        return problem(name, found, "Make room or choose another folder:", *look, *_ELSEWHERE)
    return problem(name, found, "Make room:", *look)


def _sizes_in(folder: Path) -> str:
    return f"du -xsh {shlex.quote(str(folder))}/* | sort -h"


def _megabytes(count: int) -> str:
    return f"{count / 1024**2:.0f} MB" if count < 10 * 1024**3 else f"{count / 1024**3:.0f} GB"
