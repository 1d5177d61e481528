# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installing packages of exact versions into an environment with its pip; a failure is one sentence."""

import errno
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kim_torchml.errors import DriverError, shortened
from kim_torchml.tools.programs.process_group import end_process_group
from kim_torchml.tools.programs.signals import signals_held_back

# pip keeps its rules, where it looks, what it trusts, from the user's configuration and variables. What it installs are
# wheels, as building runs code of a package's maker; and it installs where its own Python is. Bytecode of all modules
# would take longer than that of those that are imported.
_OPTIONS = (
    *("--no-input", "--disable-pip-version-check", "--no-user", "--no-compile", "--progress-bar", "off"),
    *("--only-binary", ":all:"),
)
# Variables that would let pip install elsewhere, or other packages.
_ELSEWHERE = ("PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_DRY_RUN")
# What pip says of a package that it has found, of a file that it fetches, and when it has all.
_FOUND = re.compile(r"(?:Collecting|Processing) ")
_FETCHES = re.compile(r"\s*Downloading (?:\S*/)?([^\s/-]+)-\S+ (\(.*\))")
_UNPACKS, _UNPACKING = "Installing collected packages", "unpacking"
# What it says when nobody answers.
_OFFLINE = ("Retrying (Retry(", "connection broken by", "Could not fetch URL", "Max retries exceeded")
_NO_VERSION = re.compile(r"No matching distribution found for (\S+)")
_NO_ROOM = os.strerror(errno.ENOSPC)


class NotInstalledError(DriverError):
    """Packages that cannot be had here, or that there is no room for."""


def install(
    python: Path, requirements: Sequence[str], options: Sequence[str], variables: Mapping[str, str], folder: Path,
    say: Callable[[int, str], None],
) -> None:  # fmt: skip
    """Install packages.

    Args:
        python: Python of the environment.
        requirements: Requirements of pip, with exact versions.
        options: Options of pip besides.
        variables: Environment variables for pip.
        folder: Working directory for pip.
        say: Is told how many packages pip has found, and what it does then, if that takes long.
    Raises:
        NotInstalledError: If pip fails.
    """
    arguments = [str(python), "-I", "-m", "pip", "install", *_OPTIONS, *options, *requirements]
    environment = {name: value for name, value in variables.items() if name not in _ELSEWHERE}
    process: subprocess.Popen[str] | None = None
    lines: list[str] = []
    try:
        # It has a session of its own: nobody else would end one that is not known here yet.
        with signals_held_back():
            process = subprocess.Popen(
                arguments, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", start_new_session=True,
            )  # fmt: skip
        assert process.stdout is not None
        found = 0
        for line in process.stdout:
            lines.append(line.rstrip())
            found += bool(_FOUND.match(line))
            fetches = _FETCHES.match(line)
            say(found, f"fetching {fetches[1]} {fetches[2]}" if fetches else _UNPACKING * line.startswith(_UNPACKS))
        status = process.wait()
    except BaseException:
        if process is not None:
            with process:
                end_process_group(process)
        raise
    process.stdout.close()
    if status:
        raise NotInstalledError(f"pip could not install what was asked: {_reason(lines, status)}")


def _reason(lines: Sequence[str], status: int) -> str:
    """Return why pip failed, and what to do."""
    text = "\n".join(lines)
    errors = [line.removeprefix("ERROR: ").strip() for line in lines if line.startswith("ERROR: ")]
    if _NO_ROOM in text:
        return (
            f"the disk is full (temporary files are in {tempfile.gettempdir()}); make room, or name a folder on a "
            "larger disk in TMPDIR"
        )
    missing = _NO_VERSION.search(text)
    if any(each in text for each in _OFFLINE):
        what = f" for {missing[1]}" if missing else ""
        return (
            f"the package index did not answer{what}; connect this machine, or name in pip's configuration an index "
            "that it can reach (PIP_INDEX_URL) or a folder of wheels (PIP_FIND_LINKS)"
        )
    if missing:
        here = f"Python {sys.version_info.major}.{sys.version_info.minor} on {platform.system()} {platform.machine()}"
        return (
            f"there is no wheel of {missing[1]} for {here} where pip looks, and nothing is built from source; name an "
            "index that has one in pip's configuration (PIP_INDEX_URL), or convert on another machine"
        )
    said = errors[0] if errors else next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"it ended with status {status} ({shortened(said)}); mend that, or look at `pip config list`"
