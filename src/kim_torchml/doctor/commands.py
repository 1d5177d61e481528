# SPDX-License-Identifier: LGPL-2.1-or-later
"""Foreign programs, run with a time limit; what goes wrong with them is a sentence, not an exception."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# s. Importing torch from a slow network file system can take a minute.
TIME_LIMIT = 180.0


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        stdout: What it printed.
        stderr: What it printed there.
        failure: Why it is not to be trusted, or an empty string.
    """

    stdout: str
    stderr: str
    failure: str


def run(arguments: Sequence[str | os.PathLike[str]], environment: Mapping[str, str]) -> Outcome:
    """Run a program without a terminal.

    Args:
        arguments: The program and its arguments.
        environment: All of its environment variables.
    Returns:
        How it ended; a program that is missing, hangs, crashes or exits with another code than 0 is a failure.
    """
    try:
        done = subprocess.run(
            [os.fspath(argument) for argument in arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("", "", f"it did not end within {TIME_LIMIT:.0f} s")
    except OSError as error:
        return Outcome("", "", str(error.strerror or error))
    failure = ""
    if done.returncode < 0:
        failure = f"it was ended by signal {-done.returncode}"
    elif done.returncode > 0:
        failure = f"it ended with exit code {done.returncode}: {last_line(done.stderr) or last_line(done.stdout)}"
    return Outcome(done.stdout, done.stderr, failure)


def last_line(text: str) -> str:
    """Return the last line that is not blank, or an empty string."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
