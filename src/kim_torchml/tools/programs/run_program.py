# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running other programs with a time limit. A failure is returned as a sentence and raises no exception."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.tools.programs.process_group import end_process_group
from kim_torchml.tools.programs.signals import signals_held_back

# Seconds; importing torch from a slow network file system can take a minute.
TIME_LIMIT = 180.0


@dataclass(frozen=True)
class ProgramOutcome:
    """How a program ended.

    Attributes:
        stdout: Text that it printed on stdout.
        stderr: Text that it printed on stderr.
        failure: Reason why its output cannot be trusted, or an empty string.
    """

    stdout: str
    stderr: str
    failure: str


def run_program(
    arguments: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str],
    folder: Path | None = None,
    time_limit: float | None = None,
) -> ProgramOutcome:
    """Run a program without a terminal.

    Args:
        arguments: The program and its arguments.
        environment: All environment variables that the program gets.
        folder: Its working directory; by default that of this process.
        time_limit: Seconds after which it is ended; by default TIME_LIMIT.
    Returns:
        How the program ended. It failed if it is missing, hangs, crashes, or exits with another code than 0.
    """
    limit = TIME_LIMIT if time_limit is None else time_limit
    process: subprocess.Popen[str] | None = None
    try:
        # The program has a session of its own: nobody else would end one that is not known here yet.
        with signals_held_back():
            process = subprocess.Popen(
                [os.fspath(argument) for argument in arguments],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
    except OSError as error:
        return ProgramOutcome("", "", str(error.strerror or error))
    except BaseException:
        if process is not None:
            with process:
                end_process_group(process)
        raise
    with process:
        try:
            stdout, stderr = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            end_process_group(process)
            return ProgramOutcome("", "", f"it did not end within {limit:.0f} s")
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
