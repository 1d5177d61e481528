# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a Python environment has, found out by running its Python: a broken torch cannot end this process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kim_torchml.tools.programs.run_program import ProgramOutcome, last_line, run_program

_PROBE = Path(__file__).with_name("probe_environment.py")


@dataclass(frozen=True)
class Package:
    """A Python package in an environment.

    Attributes:
        version: As it is installed, or an empty string where it is not.
        failure: Why it cannot be imported, or an empty string.
        facts: What else was found out.
    """

    version: str
    failure: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python environment.

    Attributes:
        python: Its Python.
        version: X.Y.Z of that Python, or an empty string if it does not run.
        failure: Why it does not run, or an empty string.
        headers: Folder where its Python.h belongs.
        installed: Versions of the packages that probe_environment.py names; empty strings for those that are missing.
        has_pip: Whether pip is there.
        has_ensurepip: Whether there is what brings pip, also to new environments.
        is_managed: Whether its packages are the system's package manager's, so that pip refuses to touch them.
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
        python: Its Python.
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
    """Return what is known of a package after importing it, in a process of its own: that may abort.

    Args:
        environment: The environment.
        name: How the package is imported.
        variables: Environment variables.
    """
    version = environment.installed.get(name, "")
    if not version:
        return Package("", "")
    facts, outcome = _ask(environment.python, name, variables)
    if facts is None:
        reason = last_line(outcome.stderr)
        return Package(version, reason if "Error" in reason else outcome.failure or "it printed nothing")
    return Package(version, "", facts)


def _ask(python: Path, what: str, variables: Mapping[str, str]) -> tuple[dict[str, Any] | None, ProgramOutcome]:
    # PYTHONHOME stops the driver's Python too, which check_variables.py says once.
    plain = {name: value for name, value in variables.items() if name != "PYTHONHOME"}
    outcome = run_program([python, _PROBE, what], plain)
    answer = last_line(outcome.stdout)
    if outcome.failure or not answer.startswith("{"):
        return None, outcome
    facts: dict[str, Any] = json.loads(answer)
    return facts, outcome
