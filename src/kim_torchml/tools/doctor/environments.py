# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding out what a Python environment has by running its Python, so that a broken torch cannot end this process."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kim_torchml.errors import shortened
from kim_torchml.process.imports import PYTHON_PATH, variables_of_torch
from kim_torchml.tools.programs.run_program import ProgramOutcome, last_line, run_program

_PROBE = Path(__file__).with_name("probe_environment.py")


@dataclass(frozen=True)
class Package:
    """A Python package in an environment.

    Attributes:
        version: Installed version, or an empty string if the package is not installed.
        failure: Reason why it cannot be imported, or an empty string.
        facts: Further facts that probe_environment.py prints about it.
        blamed: Environment variable without which it can be imported, or an empty string.
    """

    version: str
    failure: str
    facts: dict[str, Any] = field(default_factory=dict)
    blamed: str = ""


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python environment.

    Attributes:
        python: Path of its Python.
        version: Version X.Y.Z of that Python, or an empty string if it does not run.
        failure: Reason why that Python does not run, or an empty string.
        headers: Folder where Python.h belongs.
        installed: Versions of the packages that probe_environment.py names; empty strings for those that are missing.
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
    facts, outcome = _ask(python, "python", variables)
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
    facts, outcome = _ask(environment.python, name, variables)
    if facts is None:
        reason = last_line(outcome.stderr)
        failure = reason if "Error" in reason else outcome.failure or "it printed nothing"
        return Package(version, shortened(failure), blamed=_variable_to_blame(environment.python, name, variables))
    return Package(version, "", facts)


def _variable_to_blame(python: Path, name: str, variables: Mapping[str, str]) -> str:
    """Return the environment variable that keeps a package from being imported, or an empty string."""
    suspects = [each for each in (PYTHON_PATH, *variables_of_torch(variables)) if variables.get(each) is not None]

    def works_without(names: Sequence[str]) -> bool:
        facts, _ = _ask(python, name, {each: value for each, value in variables.items() if each not in names})
        return facts is not None

    # One import tells for most broken packages that none of them is to blame.
    if not suspects or not works_without(suspects):
        return ""
    return next((each for each in suspects if works_without([each])), "")


def _ask(python: Path, what: str, variables: Mapping[str, str]) -> tuple[dict[str, Any] | None, ProgramOutcome]:
    # PYTHONHOME may keep this Python from starting, which check_variables.py already reports.
    plain = {name: value for name, value in variables.items() if name != "PYTHONHOME"}
    outcome = run_program([python, _PROBE, what], plain)
    answer = last_line(outcome.stdout)
    if outcome.failure or not answer.startswith("{"):
        return None, outcome
    facts: dict[str, Any] = json.loads(answer)
    return facts, outcome
