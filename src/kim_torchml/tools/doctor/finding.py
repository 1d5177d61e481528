# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a check has found."""

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How it stands; SKIPPED: it could not be looked at, or need not be."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: What was looked at.
        status: How it stands.
        found: What was found, one sentence.
        advice: What to do about it, in words; empty where the commands say it all, or there is nothing to do.
        commands: What to run, to be copied as it is.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
    commands: tuple[str, ...] = ()


def ok(name: str, found: str) -> Finding:
    """Return a finding with which all is well."""
    return Finding(name, Status.OK, found)


def warning(name: str, found: str, advice: str = "", *commands: str) -> Finding:
    """Return a finding that need not be a mistake."""
    return Finding(name, Status.WARNING, found, advice, commands)


def problem(name: str, found: str, advice: str = "", *commands: str) -> Finding:
    """Return a finding that makes something fail."""
    return Finding(name, Status.PROBLEM, found, advice, commands)


def skipped(name: str, found: str, advice: str = "", *commands: str) -> Finding:
    """Return a finding of something that was not looked at."""
    return Finding(name, Status.SKIPPED, found, advice, commands)
