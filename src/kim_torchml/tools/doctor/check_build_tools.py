# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of the programs and headers that KIM's manager needs to install the driver or a model."""

import sys
from pathlib import Path

from kim_torchml.tools.doctor.finding import Finding, ok, problem
from kim_torchml.tools.doctor.machine import Machine

# One program of each set is enough; the value is the package that brings one on Debian and Ubuntu.
_PROGRAMS = {
    ("cmake",): "cmake",
    ("make",): "make",
    ("c++", "g++", "clang++"): "g++",
    # KIM's manager ends at once if it has neither, even when it installs from a folder.
    ("wget", "curl"): "wget",
}


def check_build_programs(machine: Machine) -> list[Finding]:
    """Check that the programs that KIM's manager runs are on PATH."""
    missing = [names for names in _PROGRAMS if not any(machine.which(name) for name in names)]
    if missing:
        found = f"not on PATH: {', '.join(' or '.join(names) for names in missing)}; nothing can be installed without"
        packages = " ".join(_PROGRAMS[names] for names in missing)
        return [problem("build tools", found, "Install them:", f"sudo apt-get install {packages}   # Debian, Ubuntu")]
    return [ok("build tools", ", ".join(names[0] for names in _PROGRAMS))]


def check_python_headers(machine: Machine) -> list[Finding]:
    """Check that Python's headers exist, which building the driver needs."""
    python = Path(machine.chosen_python or sys.executable)
    environment = machine.environment_of(python)
    if not environment.version:
        return []
    if (environment.headers / "Python.h").exists():
        return [ok("Python's headers", str(environment.headers))]
    found = f"Python.h is not in {environment.headers}: the driver cannot be built for {python}"
    return [
        problem(
            "Python's headers",
            found,
            "Install them:",
            f"sudo apt-get install python{environment.short_version}-dev   # Debian, Ubuntu",
        )
    ]
