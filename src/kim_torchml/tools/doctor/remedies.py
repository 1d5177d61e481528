# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands that repair an installation: they install the driver, or packages, or make an environment."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from kim_torchml.process import settings
from kim_torchml.tools.doctor.environments import PythonEnvironment
from kim_torchml.tools.doctor.machine import Machine
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME
from kim_torchml.tools.kim_collections.kim_api import MANAGER

CLONE = "./kim-torchml"
# KIM's manager copies everything that is in the folder.
IN_FOLDER_OF_CLONE = (
    "in the folder that holds your clone of kim-torchml (a .venv in the clone is copied too, twice: the temporary "
    "folder must have that much room):"
)


def driver_commands(python: str, name: str = DEFAULT_DRIVER_NAME, installed: Path | None = None) -> tuple[str, ...]:
    """Return the commands that install the driver for a Python environment.

    Args:
        python: Path of the environment's Python.
        name: KIM id of the driver.
        installed: Folder of the driver that has this id now, ours or not; None if there is none.
    """
    variables = f"{settings.PYTHON}={_word(python)} "
    if name != DEFAULT_DRIVER_NAME:
        variables += f"KIM_TORCHML_DRIVER_NAME={_word(name)} "
    # --force first removes the driver that has this id in any collection, and does no harm if there is none.
    install = f"{variables}{MANAGER} install --force user {CLONE}"
    if installed is not None and installed.exists() and not os.access(installed.parent, os.W_OK):
        return (f"sudo {MANAGER} remove --force {_word(name)}", install)
    return (install,)


def pip_remedy(machine: Machine, python: Path, advice: str, *arguments: str) -> tuple[str, ...]:
    """Return advice and the commands that run pip in an environment, or that make do without that environment.

    Args:
        machine: The machine.
        python: Path of the environment's Python.
        advice: Advice to give if pip may be used there.
        arguments: Arguments for pip.
    """
    environment = machine.environment_of(python)
    if not environment.is_managed:
        return (advice, *_pip_commands(environment, arguments))
    if machine.matters_only_as_chosen(python):
        advice = f"pip may not change it. Do without it: {settings.PYTHON} alone names it."
        return (advice, f"unset {settings.PYTHON}")
    this = Path(sys.executable)
    drivers = [driver for driver in machine.drivers if Path(driver.python) == python]
    if drivers and python != this and not machine.environment_of(this).is_managed:
        commands = [driver_commands(str(this), driver.name, driver.folder)[-1] for driver in drivers]
        return (f"pip may not change it. Install the driver for this environment, {IN_FOLDER_OF_CLONE}", *commands)
    advice = (
        "pip may not change it: its packages are the system's. Make an environment of its own, in the folder that "
        "holds your clone of kim-torchml, and go on there with what its doctor says:"
    )
    return (advice, *_commands_for_own_environment(environment, f"{CLONE}[verify]"))


def _pip_commands(environment: PythonEnvironment, arguments: Iterable[str]) -> tuple[str, ...]:
    """Return the commands that run pip in an environment that belongs to its user.

    Args:
        environment: The environment.
        arguments: Arguments for pip, such as `install` and `torch`.
    """
    python = _word(str(environment.python))
    pip = f"{python} -m pip {shlex.join(arguments)}"
    if environment.has_pip:
        return (pip,)
    return (*_with_ensurepip(environment), f"{python} -m ensurepip", pip)


def new_environment(label: str, python: str) -> tuple[str, tuple[str, ...]]:
    """Return the Python of a new virtual environment, and the command that makes it.

    Args:
        label: End of the name of its folder.
        python: Python to make it with.
    """
    folder = f"~/kim-torchml-{label}"
    return f"{folder}/bin/python", (f"{_word(python)} -m venv {folder}",)


def _commands_for_own_environment(environment: PythonEnvironment, requirement: str) -> tuple[str, ...]:
    """Return the commands that make a new environment in place of one that pip must leave alone, and examine it.

    Args:
        environment: Environment that pip must leave alone.
        requirement: Requirement for pip to install: a folder of kim-torchml's sources, with extras.
    """
    python, make = new_environment(environment.short_version, str(environment.python))
    install = f"{python} -m pip install {shlex.quote(requirement)}"
    return (*_with_ensurepip(environment), *make, install, f"{python.removesuffix('python')}kim-torchml doctor")


def _with_ensurepip(environment: PythonEnvironment) -> tuple[str, ...]:
    """Return the command that installs ensurepip, for which Debian has a separate package; nothing if it is there."""
    if environment.has_ensurepip:
        return ()
    return (f"sudo apt-get install python{environment.short_version}-venv   # Debian, Ubuntu",)


def _word(text: str) -> str:
    """Return a text quoted for the shell; a leading ~ still means the home folder."""
    return f"~/{shlex.quote(text[2:])}" if text.startswith("~/") else shlex.quote(text)
