# SPDX-License-Identifier: LGPL-2.1-or-later
"""Packages of the extra `verify`: commands that need them say so in one line where they are missing or broken."""

import importlib
import re
import shlex
import sys
from importlib import metadata

import click


def require_packages(command: str, *packages: str, error: type[click.ClickException] = click.ClickException) -> None:
    """Import packages, which takes seconds.

    Args:
        command: The subcommand that needs them, for the message.
        packages: Their names.
        error: What to raise.
    Raises:
        ClickException: One of them is missing, or cannot be imported.
    """
    missing = []
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as reason:
            if reason.name != package:
                raise error(_broken_package(command, package, reason)) from reason
            missing.append(package)
        # What a broken package raises is its own affair: kimpy without its library an ImportError, others anything.
        except Exception as reason:
            raise error(_broken_package(command, package, reason)) from reason
    if missing:
        words = [sys.executable, "-m", "pip", "install", *_pip_requirements(missing)]
        raise error(f"kim-torchml {command} needs {', '.join(missing)}; install what is missing: {shlex.join(words)}")


def _broken_package(command: str, package: str, reason: Exception) -> str:
    return (
        f"kim-torchml {command} needs {package}, which is there but cannot be imported by {sys.executable} "
        f"({type(reason).__name__}: {reason}); `kim-torchml doctor` says what to do"
    )


def _pip_requirements(packages: list[str]) -> list[str]:
    """Return what to ask pip for, as pyproject.toml has it; the names alone where kim-torchml is not installed."""
    try:
        lines = metadata.requires("kim-torchml") or []
    except metadata.PackageNotFoundError:
        lines = []
    wanted = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        if "verify" in marker:
            wanted[re.split(r"[^\w-]", requirement)[0]] = requirement.strip()
    return [wanted.get(package, package) for package in packages]
