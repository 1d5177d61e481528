# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that the driver is installed, has this version, and that the environment it was built for still exists."""

import os
from pathlib import Path

from kim_torchml import __version__
from kim_torchml.tools.doctor.finding import Finding, ok, problem, skipped, warning
from kim_torchml.tools.doctor.machine import NO_COLLECTIONS, Machine
from kim_torchml.tools.doctor.remedies import IN_FOLDER_OF_CLONE, driver_commands
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME, RECORD, InstalledDriver


def check_drivers(machine: Machine) -> list[Finding]:
    """Check that at least one driver is installed, and that each installed driver can run."""
    if machine.collections is None:
        return [skipped("driver", NO_COLLECTIONS)]
    findings = [_check_driver(machine, driver) for driver in machine.drivers]
    ours = {driver.name for driver in machine.drivers}
    folders = {item.name: item.folder for item in reversed(machine.collections.items("model_drivers"))}
    python = machine.python_to_install_for
    if not findings and DEFAULT_DRIVER_NAME not in folders:
        found = (
            "kim-torchml is not installed in any of KIM's collections, so models that name "
            f"{DEFAULT_DRIVER_NAME} cannot run"
        )
        findings.append(problem("driver", found, f"Install it, {IN_FOLDER_OF_CLONE}", *driver_commands(python)))
    elif DEFAULT_DRIVER_NAME in folders and DEFAULT_DRIVER_NAME not in ours:
        folder = folders[DEFAULT_DRIVER_NAME]
        found = (
            f"{DEFAULT_DRIVER_NAME} is installed ({folder}), but it is another program, or kim-torchml's installation "
            "is not complete"
        )
        advice = f"To remove it and have kim-torchml in its place, {IN_FOLDER_OF_CLONE}"
        findings.append(warning("driver", found, advice, *driver_commands(python, DEFAULT_DRIVER_NAME, folder)))
    return findings


def _check_driver(machine: Machine, driver: InstalledDriver) -> Finding:
    name = f"driver {driver.name}"
    python = machine.python_to_install_for
    again = f"Install the driver again, {IN_FOLDER_OF_CLONE}"
    if not driver.record:
        found = f"'{driver.folder / RECORD}' is missing or damaged, so what it was built for is not known"
        return problem(name, found, again, *driver_commands(python, driver.name, driver.folder))
    gone = _why_it_cannot_start(machine, driver)
    if gone:
        return problem(name, gone, again, *driver_commands(python, driver.name, driver.folder))
    if driver.version != __version__:
        found = (
            f"it is version {driver.version} ({driver.folder}), but this kim_torchml is {__version__}: a Python host "
            "that has imported the one cannot run the other"
        )
        return problem(name, found, again, *driver_commands(driver.python, driver.name, driver.folder))
    return ok(
        name,
        f"version {driver.version}, {driver.collection} collection, for Python {driver.python_version} "
        f"({driver.python})",
    )


def _why_it_cannot_start(machine: Machine, driver: InstalledDriver) -> str:
    """Return what is wrong with the environment that a driver was built for, or an empty string."""
    python = driver.python
    if not os.access(python, os.X_OK):
        return f"the Python environment that it was built for is gone: '{python}' cannot be run"
    environment = machine.environment_of(Path(python))
    if environment.failure:
        return f"the Python that it was built for ('{python}') does not run: {environment.failure}"
    if not environment.version.startswith(f"{driver.python_version}."):
        return f"it was built for Python {driver.python_version}, but '{python}' is now Python {environment.version}"
    if driver.python_library and not Path(driver.python_library).exists():
        return f"the Python library that it was built for is gone: '{driver.python_library}'"
    return ""
