# SPDX-License-Identifier: LGPL-2.1-or-later
"""The subcommand `kim-torchml doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kim_torchml.tools.doctor import Finding, Machine

_EXAMPLE = "\b\nExample:\n  kim-torchml doctor\n  kim-torchml doctor --lammps ~/lammps/build/lmp --json findings.json"


@click.command(epilog=_EXAMPLE, short_help="Check the installation, and print the fix for what is wrong.")
@click.option("--lammps", default="lmp", show_default=True, metavar="NAME", help="LAMMPS program, or its path.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the findings to FILE as JSON too.",
)
def doctor(lammps: str, json_file: Path | None) -> None:
    """Check what makes installs fail, and print the exact fix for each problem.

    It looks at KIM-API and its collections, the tools and temporary folders that installing needs, the driver and the
    models that are installed, torch, devices and operators in each Python environment that matters, LAMMPS, and the
    environment variables. A small program is compiled as models are, which takes half a minute the first time and is
    kept in the cache of compiled models (KIM_TORCHML_COMPILE=never leaves that out); nothing else is changed. The exit
    code is 0 if there is no problem, 1 if there is one.
    """
    # These imports stand here so that the other subcommands do not have to wait for them.
    from rich.console import Console

    from kim_torchml.tools.doctor import Machine, Status, examine
    from kim_torchml.tools.doctor.report import Report, as_json

    report = Report(Console())
    machine = Machine(lammps=lammps)
    findings = []
    for group, finding in shown_while_waiting(machine, iter(examine(machine))):
        report.add(group, finding)
        findings.append((group, finding))
    report.finish([finding for _, finding in findings])
    if json_file is not None:
        try:
            # An environment variable may hold bytes that are not UTF-8; they are written as JSON escapes.
            json_file.write_text(as_json(findings), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise click.ClickException(f"cannot write {json_file}: {error.strerror}; name another file") from error
    if any(finding.status is Status.PROBLEM for _, finding in findings):
        raise click.exceptions.Exit(1)


def shown_while_waiting(machine: Machine, findings: Iterator[tuple[str, Finding]]) -> Iterator[tuple[str, Finding]]:
    """Yield findings as they come; a line in the terminal says what is being done where one of them takes long."""
    from kim_torchml.tools.late_progress import LateProgress

    while True:
        with LateProgress() as progress:
            progress("checking")
            machine.say = progress
            found = next(findings, None)
        if found is None:
            return
        yield found
