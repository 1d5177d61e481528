# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the environment of a family in a folder, or brings it up to date: what the tests and examples of families use.

python -I -m kim_torchml.tools.convert.keep_environment FAMILY FOLDER
"""

from pathlib import Path

import click

from kim_torchml.tools.cli.user_errors import errors_as_sentences
from kim_torchml.tools.convert.families import FAMILIES
from kim_torchml.tools.convert.isolated import kept_environment
from kim_torchml.tools.convert.pip_install import NotInstalledError
from kim_torchml.tools.programs.signals import signals_raise

# Exit status where packages cannot be had: tests are then skipped, and do not fail.
NOT_TO_BE_HAD = 3


@click.command()
@click.argument("family", type=click.Choice(list(FAMILIES)))
@click.argument("folder", type=click.Path(path_type=Path))
def main(family: str, folder: Path) -> None:
    """Make the environment of FAMILY in FOLDER, or bring it up to date; what is right already is kept.

    Exit status: 0 if it is there, 3 if pip cannot install its packages, 1 or 2 if something else is wrong.
    """
    before = ""

    def say(step: str, how_far: str, fraction: float | None) -> None:
        nonlocal before
        del how_far, fraction
        if step != before:
            click.echo(f"environment of {family}: {step}", err=True)
        before = step

    with errors_as_sentences(), signals_raise():
        try:
            kept_environment(FAMILIES[family], folder, say)
        except NotInstalledError as error:
            click.echo(f"Error: {error}", err=True)
            raise click.exceptions.Exit(NOT_TO_BE_HAD) from error


if __name__ == "__main__":
    main()
