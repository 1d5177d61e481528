# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kim_torchml import settings
from kim_torchml.errors import DriverError

if TYPE_CHECKING:
    from kim_torchml.replay import Replayed, Saved


@click.command(short_help="Compute a configuration again that a failure has left behind.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model")
def replay(file: Path, model: str) -> None:
    """Compute the configuration in FILE again with the KIM model MODEL.

    FILE is what the driver saved in the folder that KIM_TORCHML_DUMP names when a compute failed. The exit code is 0
    if the compute succeeds now, 1 if it fails again; then the driver's error line is on stderr.
    """
    try:
        # Here, so that the command's other subcommands need neither ASE nor kimpy.
        from kim_torchml.replay import ReplayModel, read_saved
    except ImportError as error:
        raise click.ClickException(
            f"replay needs ASE and kimpy, but {error}; install them: python -m pip install 'kim-torchml[verify]'"
        ) from error
    try:
        saved = read_saved(file)
        click.echo(_describe(file, saved))
        replayed = ReplayModel(model).compute(saved)
    except DriverError as error:
        raise click.ClickException(str(error)) from error
    if replayed is None:
        click.echo("The compute fails here too; the driver's line on stderr says why.")
        raise click.exceptions.Exit(1)
    click.echo(_results(saved, replayed))
    if "error" in saved.facts:
        click.echo(
            "The compute succeeds here. What differs may be the neighbour lists (here: all within\n"
            "the cutoff), the device, the model's parameters, or the version of the model or driver."
        )


def _describe(file: Path, saved: Saved) -> str:
    facts = saved.facts
    contributing = int((saved.contributing != 0).sum())
    lines = [f"file            {file}", f"particles       {len(saved)}, {contributing} of them contributing"]
    if "step" in facts:
        lines.append(f"saved           at compute {facts['step']} of {facts.get('model')} ({facts.get('model_file')}),")
        lines.append(f"                driver {facts.get('driver_version')}; asked for: {facts.get('requested')}")
        if facts.get("settings", "") != settings.of_results():
            lines.append(f"set then        {facts.get('settings') or 'nothing'}")
            lines.append(f"set here        {settings.of_results() or 'nothing'}")
    if "error" in facts:
        lines.append(f"its error       {facts['error']}")
    return "\n".join(lines)


def _results(saved: Saved, replayed: Replayed) -> str:
    lines = [f"energy          {replayed.energy:.10g} eV"]
    sizes = (replayed.forces**2).sum(axis=1) ** 0.5
    largest = int(sizes.argmax())
    lines.append(f"largest force   {sizes[largest]:.6g} eV/Å, on particle {largest} ({saved.symbols[largest]})")
    if replayed.particle_energies is not None:
        contributing = saved.contributing.nonzero()[0]
        for word, place in (("lowest", "argmin"), ("highest", "argmax")) if len(contributing) else ():
            particle = int(contributing[getattr(replayed.particle_energies[contributing], place)()])
            energy = replayed.particle_energies[particle]
            lines.append(f"{word + ' energy':<15} {energy:.6g} eV, of particle {particle} ({saved.symbols[particle]})")
    return "\n".join(lines)
