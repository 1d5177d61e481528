# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml replay`."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.tools.cli.required_packages import require_packages

if TYPE_CHECKING:
    from kim_torchml.tools.replay.failed_compute import FailedCompute
    from kim_torchml.tools.replay.replayed_compute import ReplayedCompute

_INDENT = 16

_SUCCEEDS = (
    "the compute succeeds here. What differs may be the neighbour lists (here: all within the cutoff), the device, a "
    "setting, or the version of the model, the driver or torch"
)


_EXAMPLE = "\b\nExample:\n  kim-torchml replay dump/failure.xyz My_Model"


@click.command(epilog=_EXAMPLE, short_help="Compute a configuration again that a failure has left behind.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model")
def replay(file: Path, model: str) -> None:
    """Compute the configuration in FILE again with the KIM model MODEL.

    FILE is what the driver saved in the folder that KIM_TORCHML_DUMP names when a compute failed. The exit code is 0
    if the compute succeeds now, 1 if it fails again; then the driver's error line is on stderr.
    """
    # These modules are imported here so that the other subcommands need neither ASE nor kimpy.
    require_packages("replay", "numpy", "scipy", "ase", "kimpy")
    from kim_torchml.tools.replay.failed_compute import read_failed_compute
    from kim_torchml.tools.replay.replayed_compute import compute_again, create_model, restore_parameters

    try:
        failed = read_failed_compute(file)
        click.echo(_describe(file, failed, model))
        kim_model = create_model(model, failed)
        if _is_of(failed, model):
            restore_parameters(kim_model, failed.parameters)
        replayed = compute_again(kim_model, failed)
    except DriverError as error:
        raise click.ClickException(str(error)) from error
    if replayed is None:
        click.echo(_line("verdict", "the compute fails here too; the driver's line on stderr says why"))
        raise click.exceptions.Exit(1)
    click.echo(_results(failed, replayed))
    if "error" in failed.facts:
        click.echo(_line("verdict", _SUCCEEDS))


def _line(what: str, text: str) -> str:
    """Return a line of the table, wrapped between words so that paths stay in one piece."""
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        text,
        width=min(width, 100),
        initial_indent=f"{what:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _is_of(failed: FailedCompute, model: str) -> bool:
    """Return whether it is this model that failed, as far as the file tells."""
    return failed.facts.get("model", model) == model


def _describe(file: Path, failed: FailedCompute, model: str) -> str:
    facts = failed.facts
    contributing = int((failed.contributing != 0).sum())
    lines = [_line("file", str(file)), _line("particles", f"{len(failed)}, {contributing} of them contributing")]
    if failed.is_of_a_rank:
        lines.append(
            _line(
                "ranks",
                f"saved by one of {facts['ranks']} that were started together; its particles are computed here alone",
            )
        )
    if "step" in facts:
        where = f"at compute {facts['step']} of {facts.get('model')} ({facts.get('model_file')})"
        lines.append(_line("saved", f"{where}, by driver {facts.get('driver_version')}"))
        if facts.get("settings", "") != settings.variables_that_change_results():
            lines.append(_line("set then", facts.get("settings") or "nothing"))
            lines.append(_line("set here", settings.variables_that_change_results() or "nothing"))
    names = ", ".join(failed.parameters)
    if not _is_of(failed, model):
        lost = f"; nor are its parameters {names} set, which the simulator had set" if names else ""
        lines.append(_line("warning", f"this was saved by {facts['model']}, but is replayed with {model}{lost}"))
    elif names:
        lines.append(_line("parameters", f"{names}: set as the simulator had set them"))
    if "error" in facts:
        lines.append(_line("its error", facts["error"]))
    return "\n".join(lines)


def _results(failed: FailedCompute, replayed: ReplayedCompute) -> str:
    lines = [_line("energy", f"{replayed.energy:.10g} eV")]
    if replayed.forces is not None:
        sizes = (replayed.forces**2).sum(axis=1) ** 0.5
        largest = int(sizes.argmax())
        on = f"on particle {largest} ({failed.symbols[largest]})"
        lines.append(_line("largest force", f"{sizes[largest]:.6g} eV/Å, {on}"))
    contributing = failed.contributing.nonzero()[0]
    if replayed.particle_energies is not None and len(contributing):
        energies = replayed.particle_energies[contributing]
        for word, place in (("lowest energy", energies.argmin()), ("highest energy", energies.argmax())):
            particle = int(contributing[place])
            lines.append(_line(word, f"{energies[place]:.6g} eV, of particle {particle} ({failed.symbols[particle]})"))
    return "\n".join(lines)
