# SPDX-License-Identifier: LGPL-2.1-or-later
"""SevenNet-0 as a KIM model: converted, installed and compiled, each only where that has not been done before."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from calculators import on_cpu
from rich.console import Console

MODEL, WEIGHTS, FAMILY = "SevenNet_0", "7net-0", "sevennet"
# The command of this environment, where the driver's packages are.
_COMMAND = [sys.executable, "-m", "kim_torchml"]


def convert(environment: Path, output: Path, console: Console) -> Path:
    """Return the folder of the model, which is converted again where the packages or sources have changed.

    Args:
        environment: Environment of the family's package.
        output: Folder to keep the model's folder in.
        console: Console that says what is done.
    Raises:
        RuntimeError: If the conversion fails; it has said why.
    """
    folder, stamp = output / MODEL, output / f"{MODEL}.made_with"
    state = state_of(environment)
    if folder.is_dir() and stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        console.print(f"{MODEL}: converted before ({folder})")
        return folder
    console.print(f"{MODEL}: converting {WEIGHTS}, which takes a minute or two")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    python = python_of(environment)
    _run([str(python), "-I", "-m", "kim_torchml", "convert", FAMILY, WEIGHTS, "--output", str(folder), "--name", MODEL])
    stamp.write_text(state, encoding="utf-8")
    return folder


def install(folder: Path, compiles: bool, console: Console) -> None:
    """Install the model in KIM's user collection unless it is there, and compile it unless that has been done.

    Args:
        folder: The model's folder.
        compiles: Whether to compile it.
        console: Console that says what is done.
    Raises:
        RuntimeError: If that fails; the command has said why.
    """
    if not is_installed(folder):
        minutes = ", and compiling it, which takes minutes, once (--no-compile leaves that out)" if compiles else ""
        console.print(f"{MODEL}: installing it in KIM's user collection{minutes}")
        _run([*_COMMAND, "install", str(folder), *([] if compiles else ["--no-compile"])])
        return
    console.print(f"{MODEL}: installed before")
    if compiles and _status([*_COMMAND, "compile", MODEL]) != 0:
        console.print(f"{MODEL}: runs uncompiled, for the reason above")


def is_installed(folder: Path) -> bool:
    """Return whether the installed model has the file of the model in a folder."""
    digests = []
    for target in (MODEL, str(folder)):
        done = subprocess.run([*_COMMAND, "info", target, "--json"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return False
        digests.append(json.loads(done.stdout)["model_file"]["sha256"])
    return digests[0] == digests[1]


def python_of(environment: Path) -> Path:
    """Return the Python of an environment."""
    return environment / "bin" / "python"


def state_of(environment: Path) -> str:
    """Return a digest of what converts in an environment: the packages there, and the sources of kim_torchml."""
    digest = hashlib.sha256()
    for packages in sorted(environment.glob("lib/python*/site-packages")):
        for path in sorted(packages.glob("*.dist-info")):
            digest.update(f"{path.name}\n".encode())
        for path in sorted((packages / "kim_torchml").rglob("*.py")):
            digest.update(f"{path.relative_to(packages)}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _run(command: list[str]) -> None:
    """Run a command, which prints what it does."""
    if _status(command) != 0:
        raise RuntimeError(f"this failed, as it says above: {' '.join(command)}")


def _status(command: list[str]) -> int:
    """Run a command, which prints what it does; return its exit status."""
    return subprocess.run(command, env=on_cpu(), stdin=subprocess.DEVNULL, check=False).returncode
