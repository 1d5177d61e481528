# SPDX-License-Identifier: LGPL-2.1-or-later
"""Importing the packages of the extra `verify`, or saying in one line that they are missing or broken."""

import importlib
import re
import shlex
import sys
from importlib import metadata

import click


def require_packages(command: str, *packages: str, error: type[click.ClickException] = click.ClickException) -> None:
    """Import the packages that a subcommand needs, or say what to do; importing takes seconds.

    Args:
        command: Name of the subcommand, for the message.
        packages: Names by which the packages are imported.
        error: Class of the exception to raise.
    Raises:
        ClickException: If a package is missing, or cannot be imported.
    """
    missing = []
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as reason:
            if reason.name != package:
                raise error(_broken_package(command, package, reason)) from reason
            missing.append(package)
        # A broken package may raise anything; kimpy without its library raises an ImportError.
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
    """Return what pip is to install, with the version limits of pyproject.toml if kim-torchml is installed."""
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
