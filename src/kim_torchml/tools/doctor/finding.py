# SPDX-License-Identifier: LGPL-2.1-or-later
"""Findings, which are the results of checks."""

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """Status of a finding. SKIPPED means that the check could not be done, or need not be."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: Name of what was checked.
        status: Whether all is well.
        found: Description of what was found, in one sentence.
        advice: Instructions in words; empty if there is nothing to do.
        commands: Shell commands that follow the advice, to be copied as they are.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
    commands: tuple[str, ...] = ()


def ok(name: str, found: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(name, Status.OK, found)


def warning(name: str, found: str, advice: str = "", *commands: str) -> Finding:
    """Return a finding that may be a mistake."""
    return Finding(name, Status.WARNING, found, advice, commands)


def problem(name: str, found: str, advice: str = "", *commands: str) -> Finding:
    """Return a finding that makes something fail."""
    return Finding(name, Status.PROBLEM, found, advice, commands)


def skipped(name: str, found: str, advice: str = "", *commands: str) -> Finding:
    """Return the finding that something was not checked."""
    return Finding(name, Status.SKIPPED, found, advice, commands)
