# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml package`: from a model file to a folder that KIM can install."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kim_torchml.errors import DriverError
from kim_torchml.model_files.model_toml import ABOUT_TEXTS, DTYPES, ENERGY, SPECIES_AS
from kim_torchml.tools.cli.user_errors import errors_as_sentences
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME

if TYPE_CHECKING:
    from kim_torchml.tools.package.statement import Statement


def _split(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Return the symbols in a text, which commas or blanks divide."""
    symbols = tuple(value.replace(",", " ").split())
    if not symbols:
        raise click.BadParameter(f"must name elements, such as Si,C, got '{value}'", context, parameter)
    return symbols


def _described(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    """Return descriptions of KIM parameters by name."""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name or not text:
            raise click.BadParameter(f"must be NAME=TEXT, got {value}", context, parameter)
        found[name] = text
    return found or None


_EXAMPLE = (
    "\b\n"
    "Example:\n"
    "  kim-torchml package network.pt --output ./My_Model --name My_Model \\\n"
    "      --kind edges --species Si,C --cutoff 5 --layers 3"
)


@click.command(epilog=_EXAMPLE, short_help="Make a KIM model of a model file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Folder to write.")
@click.option("--name", required=True, help="KIM id of the model.")
@click.option("--kind", required=True, help="What it takes: none, descriptor, graph or edges.")
@click.option("--species", required=True, callback=_split, metavar="A,B", help="Elements in the order of their codes.")
@click.option("--cutoff", required=True, type=float, metavar="Å", help="Cutoff.")
@click.option("--layers", type=int, default=1, show_default=True, help="Message-passing layers of a graph or edges.")
@click.option("--species-as", type=click.Choice(list(SPECIES_AS)), default="codes", show_default=True,
              help="What it gets as species.")  # fmt: skip
@click.option("--energy", type=click.Choice(list(ENERGY)), default="per particle", show_default=True,
              help="What it returns.")  # fmt: skip
@click.option("--dtype", type=click.Choice(DTYPES), help="Floating type of its inputs [default: that of its tensors]")
@click.option("--returns-forces", is_flag=True, help="It returns (energy, forces).")
@click.option("--descriptor", metavar="NAME", help="Name of the descriptor, for the kind descriptor.")
@click.option("--descriptor-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Its file.")  # fmt: skip
@click.option("--parameter", "parameters", multiple=True, callback=_described, metavar="NAME=TEXT",
              help="A tensor that simulators may set, and its description (may be given several times).")  # fmt: skip
@click.option("--smallest-distance", type=float, metavar="Å", help="Warn where two particles come closer.")
@click.option("--most-neighbours", type=int, metavar="N", help="Warn where a particle has more.")
@click.option("--stop", is_flag=True, help="Refuse to compute beyond these two limits instead of warning.")
@click.option("--title", help="Title of the model.")
@click.option("--author", "authors", multiple=True, help="An author (may be given several times).")
@click.option("--doi", help="DOI of what to cite.")
@click.option("--licence", help="Licence of the model, such as CC-BY-4.0.")
@click.option("--description", metavar="TEXT", help="What the model is for.")
@click.option("--trained-on", metavar="TEXT", help="Data that it was trained on.")
@click.option("--driver", default=DEFAULT_DRIVER_NAME, show_default=True, help="KIM id of the driver.")
@click.option("--replace", is_flag=True, help="Replace the files of a model that is in FOLDER; others there stay.")
def package(file: Path, output: Path, replace: bool, **stated: Any) -> None:
    """Write a folder that KIM can install, with the model file FILE in it: TorchScript (.pt), or a
    program of torch.export (.pt2) that takes what the kind edges does.

    What is written is loaded as the driver loads it, and its forces are compared with differences of the energy, before
    FOLDER appears.

    Exit status: 0 if the folder was written, 1 if the model is not what was said, 2 if what was said makes no sense.
    """
    # These modules need torch, for which the other subcommands do not have to wait.
    from kim_torchml.process.imports import import_needed_packages
    from kim_torchml.tools.late_progress import LateProgress

    if stated["stop"] and stated["smallest_distance"] is None and stated["most_neighbours"] is None:
        raise click.UsageError("--stop needs a limit, got none; give --smallest-distance or --most-neighbours too")
    with errors_as_sentences(), LateProgress() as progress:
        progress("importing torch", 0.0)
        import_needed_packages()
        from kim_torchml.tools.package.program_file import packaged
        from kim_torchml.tools.package.unfinished_folder import check_free
        from kim_torchml.tools.package.wording import in_options, reworded_errors
        from kim_torchml.tools.package.written_model import write_model

        try:
            check_free(output, replace, "--replace")
            statement = _statement(**stated)
            statement.check()
        except DriverError as error:
            raise click.UsageError(in_options(str(error), str(file))) from error
        with reworded_errors(lambda message: in_options(message, str(file))):
            written = write_model(statement, packaged(file), None, output, progress)
    click.echo(str(written))


def _statement(**options: Any) -> Statement:
    """Return what the options say of the model."""
    from kim_torchml.tools.package.arguments import LIMITS
    from kim_torchml.tools.package.statement import Statement

    about = {key: options.pop(key) for key in ("authors", *ABOUT_TEXTS)}
    about["authors"] = list(about["authors"])
    limits = {key: options.pop(key) for key in LIMITS}
    given = {key: value for key, value in limits.items() if value is not None and value is not False}
    return Statement(**options, about={key: text for key, text in about.items() if text}, limits=given or None)
