# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml upgrade`: a model.toml in place of a parameter file."""

from pathlib import Path

import click

from kim_torchml.model_files.model_toml import SPECIES_AS
from kim_torchml.tools.cli.user_errors import errors_as_sentences

_EXAMPLE = "\b\nExample:\n  kim-torchml upgrade ./My_Model"


@click.command(epilog=_EXAMPLE, short_help="Give a model's folder a model.toml.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--species-as",
    type=click.Choice(list(SPECIES_AS)),
    help="What the model gets as species, which the old format leaves to KIM_MODEL_ELEMENTS_MAP (the default).",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="Write the upgraded model into the folder NEW, and leave FOLDER alone.",
)
def upgrade(folder: Path, species_as: str | None, output: Path | None) -> None:
    """Write a model.toml (format 2) in place of the parameter file of the model in FOLDER.

    It says what the parameter file says, and what the driver has had to find out so far. FOLDER changes only if
    energies and forces keep their bits, and KIM parameters their values.

    Exit status: 0 if the folder has a model.toml now, or had one; 1 if it cannot be upgraded; 2 if FOLDER has no model,
    or NEW is taken.
    """
    # These modules need torch, for which the other subcommands do not have to wait.
    from kim_torchml.process.imports import import_needed_packages
    from kim_torchml.tools.late_progress import LateProgress

    with errors_as_sentences(), LateProgress() as progress:
        progress("importing torch", 0.0)
        import_needed_packages()
        from kim_torchml.tools.package.upgrade import upgrade_folder

        upgraded = upgrade_folder(folder, species_as, output, progress)
    click.echo(str(upgraded))
