# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether what this process compiles is of use to a driver, which has a Python environment, and a torch, of its own."""

import os
import shlex
import sys
from pathlib import Path

from kim_torchml.tools.installation.driver_of_model import DriverOfModel


def python_elsewhere(driver: DriverOfModel) -> str:
    """Return the Python that a driver was built for, where it is that of another environment; else an empty string."""
    python = "" if driver.ours is None else driver.ours.python
    # A virtual environment's Python is a link: what counts is where it lies.
    is_here = os.path.normpath(Path(python).parent) == os.path.normpath(Path(sys.executable).parent)
    return "" if not python or is_here else python


def compile_there(python: str, name: str) -> str:
    """Return the command that compiles a model in the environment of another Python."""
    return f"{shlex.quote(python)} -m kim_torchml compile {name}"
