# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml check`: a test kit for authors of models."""

from pathlib import Path

import click

from kim_torchml.tools.cli.table_console import table_console
from kim_torchml.tools.cli.user_errors import errors_as_sentences

_EXAMPLE = "\b\nExample:\n  kim-torchml check ./My_Model"


@click.command(epilog=_EXAMPLE, short_help="Check a model's folder, without KIM.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
def check(folder: Path, seed: int) -> None:
    """Check the model in FOLDER, which need not be installed: neither KIM nor a simulator is needed.

    It is opened as the driver opens it. Then its forces are compared with differences of the energy, and its energies
    and forces with those of the same particles in another order, turned, cut out, doubled, or contributing in parts.

    Exit status: 0 if all is well, 1 if a check has failed or the model cannot be opened, 2 if FOLDER has no model.
    """
    # These modules need torch, for which the other subcommands do not have to wait.
    from kim_torchml.process.imports import import_needed_packages
    from kim_torchml.tools.late_progress import LateProgress

    with errors_as_sentences(), LateProgress() as progress:
        progress("importing torch", 0.0)
        import_needed_packages()
        from kim_torchml.tools.model_check.check_model import run_checks

        found = run_checks(folder, seed, progress)
    found.print(table_console())
    if not found.passed:
        raise click.exceptions.Exit(1)
