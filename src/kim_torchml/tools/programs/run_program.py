# SPDX-License-Identifier: LGPL-2.1-or-later
"""Foreign programs, run with a time limit; what goes wrong with them is a sentence, not an exception."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kim_torchml.tools.programs.process_group import end_process_group

# s. Importing torch from a slow network file system can take a minute.
TIME_LIMIT = 180.0


@dataclass(frozen=True)
class ProgramOutcome:
    """How a program ended.

    Attributes:
        stdout: What it printed.
        stderr: What it printed there.
        failure: Why it is not to be trusted, or an empty string.
    """

    stdout: str
    stderr: str
    failure: str


def run_program(arguments: Sequence[str | os.PathLike[str]], environment: Mapping[str, str]) -> ProgramOutcome:
    """Run a program without a terminal.

    Args:
        arguments: The program and its arguments.
        environment: All of its environment variables.
    Returns:
        How it ended; a program that is missing, hangs, crashes or exits with another code than 0 is a failure.
    """
    try:
        process = subprocess.Popen(
            [os.fspath(argument) for argument in arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return ProgramOutcome("", "", str(error.strerror or error))
    with process:
        try:
            stdout, stderr = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            end_process_group(process)
            return ProgramOutcome("", "", f"it did not end within {TIME_LIMIT:.0f} s")
        except BaseException:
            end_process_group(process)
            raise
    return ProgramOutcome(stdout, stderr, _failure(process.returncode, stdout, stderr))


def _failure(status: int, stdout: str, stderr: str) -> str:
    if status < 0:
        return f"it was ended by signal {-status}"
    if status > 0:
        return f"it ended with exit code {status}: {last_line(stderr) or last_line(stdout)}"
    return ""


def last_line(text: str) -> str:
    """Return the last line that is not blank, or an empty string."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
