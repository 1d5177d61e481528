# SPDX-License-Identifier: LGPL-2.1-or-later
"""The list of all checks, in the order of the report. A new check is one function and one entry here."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from kim_torchml.tools.doctor.check_build_tools import check_build_programs, check_python_headers
from kim_torchml.tools.doctor.check_compiling import check_cache, check_compiler, check_compiling
from kim_torchml.tools.doctor.check_drivers import check_drivers
from kim_torchml.tools.doctor.check_kim_api import check_kim_configuration, check_kim_tools, check_user_collection
from kim_torchml.tools.doctor.check_lammps import check_lammps
from kim_torchml.tools.doctor.check_models import check_models
from kim_torchml.tools.doctor.check_python import (
    check_ase_and_kimpy,
    check_device,
    check_operator_packages,
    check_report_packages,
    check_torch_and_numpy,
)
from kim_torchml.tools.doctor.check_temporary_folders import check_temporary_folders
from kim_torchml.tools.doctor.check_variables import (
    check_cache_variable,
    check_communicator_word,
    check_compile_word,
    check_dump_folder,
    check_edges_word,
    check_on_error,
    check_python_home,
    check_python_variable,
    check_stores,
    check_switches,
    check_threads,
)
from kim_torchml.tools.doctor.finding import Finding
from kim_torchml.tools.doctor.machine import Machine

Check = Callable[[Machine], list[Finding]]

GROUPS: Mapping[str, Sequence[Check]] = {
    "KIM-API": (check_kim_tools, check_kim_configuration, check_user_collection),
    "Environment variables": (
        check_python_variable,
        check_python_home,
        check_threads,
        check_switches,
        check_dump_folder,
        check_on_error,
        check_stores,
        check_compile_word,
        check_edges_word,
        check_communicator_word,
        check_cache_variable,
    ),
    "Building and temporary files": (check_build_programs, check_python_headers, check_temporary_folders),
    "Python": (
        check_torch_and_numpy,
        check_device,
        check_operator_packages,
        check_ase_and_kimpy,
        check_report_packages,
    ),
    # This group comes after Python, because installing the driver needs an environment with torch.
    "Driver and models": (check_drivers, check_models),
    "Simulators": (check_lammps,),
    # This group comes last, because it takes longest.
    "Compiled models": (check_compiler, check_cache, check_compiling),
}


def examine(machine: Machine) -> Iterator[tuple[str, Finding]]:
    """Run all checks, and yield each finding with the name of its group as soon as it is known."""
    for group, checks in GROUPS.items():
        for check in checks:
            for finding in check(machine):
                yield group, finding
