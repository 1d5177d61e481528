# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding out what a Python environment has by running its Python, so that a broken torch cannot end this process."""

import itertools
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kim_torchml.errors import shortened
from kim_torchml.process.imports import PYTHON_PATH, variables_of_torch
from kim_torchml.process.operator_packages import OPERATOR_PACKAGES
from kim_torchml.tools.programs.run_program import ProgramOutcome, last_line, run_program

_PROBE = Path(__file__).with_name("probe_environment.py")
# Names by which packages are imported, and the distributions that bring them.
_PACKAGES = {
    **{name: name for name in ("torch", "numpy", "ase", "kimpy", "jinja2", "matplotlib")},
    **{package.module: package.distribution for package in OPERATOR_PACKAGES.values()},
}
# How Python begins the list of its calls where it crashes.
_CALLS_OF_A_CRASH = "most recent call first"


@dataclass(frozen=True)
class Package:
    """A Python package in an environment.

    Attributes:
        version: Installed version, or an empty string if the package is not installed.
        failure: Reason why it cannot be imported, or an empty string.
        facts: Further facts that probe_environment.py prints about it.
        blamed: Fewest environment variables without which it can be imported; empty if they do not matter.
        folder: Folder on PYTHONPATH that the module that failed came from, or an empty string.
    """

    version: str
    failure: str
    facts: dict[str, Any] = field(default_factory=dict)
    blamed: tuple[str, ...] = ()
    folder: str = ""


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python environment.

    Attributes:
        python: Path of its Python.
        version: Version X.Y.Z of that Python, or an empty string if it does not run.
        failure: Reason why that Python does not run, or an empty string.
        headers: Folder where Python.h belongs.
        installed: Versions of the packages that checks ask about; empty strings for those that are missing.
        has_pip: Whether pip is installed.
        has_ensurepip: Whether ensurepip is installed, which brings pip to this environment and to new ones.
        is_managed: Whether the package manager of the system owns its packages, so that pip refuses to touch them.
    """

    python: Path
    version: str
    failure: str
    headers: Path = Path()
    installed: dict[str, str] = field(default_factory=dict)
    has_pip: bool = True
    has_ensurepip: bool = True
    is_managed: bool = False

    @property
    def short_version(self) -> str:
        """X.Y of that Python."""
        return ".".join(self.version.split(".")[:2])


def probe_environment(python: Path, variables: Mapping[str, str]) -> PythonEnvironment:
    """Return what an environment has.

    Args:
        python: Path of the environment's Python.
        variables: Environment variables.
    """
    facts, outcome = _ask(python, variables, "python", json.dumps(_PACKAGES))
    if facts is None:
        return PythonEnvironment(python, "", outcome.failure or "it printed nothing")
    return PythonEnvironment(
        python,
        facts["version"],
        "",
        Path(facts["include"]),
        facts["packages"],
        has_pip=facts["pip"],
        has_ensurepip=facts["ensurepip"],
        is_managed=facts["managed"],
    )


def probe_package(environment: PythonEnvironment, name: str, variables: Mapping[str, str]) -> Package:
    """Return what importing a package shows. It is imported in a process of its own, because that may crash.

    Args:
        environment: The environment.
        name: Name by which the package is imported.
        variables: Environment variables.
    """
    version = environment.installed.get(name, "")
    if not version:
        return Package("", "")
    facts, outcome = _ask(environment.python, variables, name)
    if facts is None:
        reason = last_line(outcome.stderr)
        failure = reason if "Error" in reason else outcome.failure or "it printed nothing"
        blamed = _variables_to_blame(environment.python, name, variables)
        folder = _folder_to_blame(outcome.stderr, variables)
        return Package(version, shortened(failure), blamed=blamed, folder=folder)
    return Package(version, "", facts)


def _variables_to_blame(python: Path, name: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fewest environment variables without which a package can be imported; none if that needs others."""
    suspects = [each for each in (PYTHON_PATH, *variables_of_torch(variables)) if variables.get(each) is not None]

    def works_without(names: Collection[str]) -> bool:
        facts, _ = _ask(python, {each: value for each, value in variables.items() if each not in names}, name)
        return facts is not None

    # One import tells for most broken packages that none of them is to blame.
    if not suspects or not works_without(suspects):
        return ()
    # Those that break it alone must go in any case, and mostly no other has to.
    guilty = [each for each in suspects if not works_without([other for other in suspects if other != each])]
    others = [each for each in suspects if each not in guilty]
    sets = ((*guilty, *more) for count in range(len(others) + 1) for more in itertools.combinations(others, count))
    # The last of these sets, all suspects, is known to do.
    return next(names for names in sets if len(names) == len(suspects) or works_without(names))


def _folder_to_blame(stderr: str, variables: Mapping[str, str]) -> str:
    """Return the folder on PYTHONPATH that what failed came from, by what Python said; empty if it came from none."""
    folders = {
        each: os.path.normpath(Path(each).absolute())
        for each in variables.get(PYTHON_PATH, "").split(os.pathsep)
        if each
    }
    lines = stderr.splitlines()
    # The deepest call first.
    for line in lines if _CALLS_OF_A_CRASH in stderr else reversed(lines):
        named = [
            each for each, path in folders.items() if re.search(rf"(?<![\w./-]){re.escape(path.rstrip('/'))}/", line)
        ]
        if named:
            # One may lie in another.
            return max(named, key=lambda each: len(folders[each]))
    return ""


def _ask(python: Path, variables: Mapping[str, str], *what: str) -> tuple[dict[str, Any] | None, ProgramOutcome]:
    # PYTHONHOME may keep this Python from starting, which check_variables.py already reports.
    plain = {name: value for name, value in variables.items() if name != "PYTHONHOME"}
    outcome = run_program([python, "-X", "faulthandler", _PROBE, *what], plain)
    answer = last_line(outcome.stdout)
    if outcome.failure or not answer.startswith("{"):
        return None, outcome
    facts: dict[str, Any] = json.loads(answer)
    return facts, outcome
