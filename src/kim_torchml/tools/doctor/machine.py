# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine that the checks examine; facts that several checks need are found out once."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from kim_torchml.process import settings
from kim_torchml.tools.doctor.environments import Package, PythonEnvironment, probe_environment, probe_package
from kim_torchml.tools.kim_collections.installed_drivers import InstalledDriver, find_drivers
from kim_torchml.tools.kim_collections.kim_api import KINDS, KimApi, find_kim_api

# A check that needs `Machine.collections`, and cannot have them, is skipped with these words.
NO_COLLECTIONS = "needs KIM-API and a configuration file that it can read"


class Machine:
    """A machine as the programs of its user see it.

    Attributes:
        variables: Environment variables of the user
        lammps: Name or path of the LAMMPS program.
        say: Is called with what is being done where that takes long.
    """

    def __init__(self, variables: Mapping[str, str] = os.environ, lammps: str = "lmp") -> None:
        self.variables = variables
        self.lammps = lammps
        self.say: Callable[[str], None] = lambda text: None
        self._environments: dict[Path, PythonEnvironment] = {}
        self._packages: dict[tuple[Path, str], Package] = {}

    def which(self, program: str) -> str | None:
        """Return the path of a program on PATH."""
        return shutil.which(program, path=self.variables.get("PATH", ""))

    @cached_property
    def kim_api(self) -> KimApi | None:
        """KIM-API; None if its tools are not on PATH or are incomplete."""
        try:
            return find_kim_api(self.variables)
        except FileNotFoundError:
            return None

    @property
    def collections(self) -> KimApi | None:
        """KIM-API if it can be asked about its collections, else None."""
        kim_api = self.kim_api
        if kim_api is None or not kim_api.is_configured or not all(map(kim_api.user_folders, KINDS)):
            return None
        if not Path(kim_api.configuration_file).exists():
            return None
        return kim_api

    def other_kim_api(self, library: str) -> str:
        """Return the KIM-API library that KIM's tools use if it is another one than this; otherwise an empty string.

        The string is empty, too, if one of the two libraries is unknown.
        """
        ours = "" if self.kim_api is None else self.kim_api.library
        return ours if library and ours and Path(library).resolve() != Path(ours).resolve() else ""

    @cached_property
    def drivers(self) -> list[InstalledDriver]:
        """Installed drivers that belong to this project, whatever their KIM ids are."""
        return [] if self.collections is None else find_drivers(self.collections.items("model_drivers"))

    @property
    def chosen_python(self) -> str:
        """Python that KIM_TORCHML_PYTHON names, or an empty string."""
        return self.variables.get(settings.PYTHON, "")

    @property
    def python_to_install_for(self) -> str:
        """Python that the driver is best installed for: the one that the user has chosen, or the running one.

        The running one is better, too, if the chosen one lacks torch or numpy, and pip may not install them there.
        """
        if not self.chosen_python or self.why_chosen_python_fails():
            return sys.executable
        environment = self.environment_of(Path(self.chosen_python))
        can_run_it = not environment.is_managed or all(map(environment.installed.get, ("torch", "numpy")))
        return self.chosen_python if can_run_it else sys.executable

    @cached_property
    def pythons(self) -> list[Path]:
        """Pythons whose environments matter: the running one, those of drivers, and the chosen one; each once."""
        names = [sys.executable, *(driver.python for driver in self.drivers)]
        if self.chosen_python and self.why_chosen_python_fails() == "":
            names.append(self.chosen_python)
        pythons = [Path(name) for name in names if os.access(name, os.X_OK)]
        # bin/python and bin/python3 are the same Python. Virtual environments differ by their folders only, because the
        # Python of each is a link to that of the system.
        different = {(python.parent, python.resolve()): python for python in reversed(pythons)}
        return list(reversed(different.values()))

    def matters_only_as_chosen(self, python: Path) -> bool:
        """Return whether a Python matters only because KIM_TORCHML_PYTHON names it, and nothing else runs in it."""
        others = {Path(sys.executable), *(Path(driver.python) for driver in self.drivers)}
        return python == Path(self.chosen_python) and python not in others

    def why_chosen_python_fails(self) -> str:
        """Return why the driver cannot run in the Python that KIM_TORCHML_PYTHON names, or an empty string."""
        chosen = self.chosen_python
        if not os.access(chosen, os.X_OK) or Path(chosen).is_dir():
            return f"'{chosen}' cannot be run"
        environment = self.environment_of(Path(chosen))
        if environment.failure:
            return f"'{chosen}' does not run: {environment.failure}"
        for driver in self.drivers:
            if driver.python_version and not environment.version.startswith(f"{driver.python_version}."):
                return (
                    f"'{chosen}' is Python {environment.version}, and the driver {driver.name} was built for Python "
                    f"{driver.python_version}"
                )
        return ""

    def environment_of(self, python: Path) -> PythonEnvironment:
        """Return what the environment of a Python has."""
        if python not in self._environments:
            self._environments[python] = probe_environment(python, self.variables)
        return self._environments[python]

    def package(self, python: Path, name: str) -> Package:
        """Return what importing a package shows in the environment of a Python."""
        key = (python, name)
        if key not in self._packages:
            self._packages[key] = probe_package(self.environment_of(python), name, self.variables)
        return self._packages[key]
