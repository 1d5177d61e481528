# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml convert`: from a trained potential of another package to a model that KIM can install."""

from __future__ import annotations

import importlib.metadata
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kim_torchml.model_files.model_toml import DTYPES, SPECIES_AS
from kim_torchml.tools.cli.user_errors import errors_as_sentences

if TYPE_CHECKING:
    from collections.abc import Callable

    from kim_torchml.tools.late_progress import LateProgress

_EXAMPLE = (
    "\b\n"
    "Example:\n"
    "  kim-torchml convert sevennet 7net-0 --output ./SevenNet_0 --name SevenNet_0 --install\n"
    "  kim-torchml convert mace my.model --trust --output ./My_MACE --name My_MACE --dtype float64"
)


def _list(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Say what can be converted, and end."""
    del parameter
    if not value or context.resilient_parsing:
        return
    with errors_as_sentences():
        _import_torch()
        from kim_torchml.tools.convert.families import FAMILIES

        for family in FAMILIES.values():
            click.echo(f"{family.word}: {family.title}")
            click.echo(
                "  needs: " + ", ".join(f"{each.name} {_here(each.name, each.version)}" for each in family.packages)
            )
            for source in family.sources:
                click.echo(f"  takes: {source}")
            for line in family.measured:
                click.echo(f"  measured: {line}")
    context.exit()


def _here(name: str, tried: str) -> str:
    try:
        return f"({importlib.metadata.version(name)} is here; tried with {tried})"
    except importlib.metadata.PackageNotFoundError:
        return f"(not here; tried with {tried}; --isolated brings it)"


def _import_torch() -> None:
    from kim_torchml.process.imports import import_needed_packages

    import_needed_packages()


@click.command(epilog=_EXAMPLE, short_help="Make a KIM model of a trained potential of another package.")
@click.argument("family")
@click.argument("source")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Folder to write.")
@click.option("--name", required=True, help="KIM id of the model.")
@click.option("--dtype", type=click.Choice(DTYPES[:2]), help="Floating type [default: the checkpoint's]")
@click.option("--head", metavar="H", help="Head of a network that has several (MACE).")
@click.option("--modal", metavar="M", help="Modality of a network that has several (SevenNet).")
@click.option("--species-as", type=click.Choice(list(SPECIES_AS)),
              help="What a network gets as species, where its files do not say (KLIFF).")  # fmt: skip
@click.option("--format", "file_format", type=click.Choice(["pt2", "pt"]),
              help="A program of torch.export, which cannot run code and can be compiled, or TorchScript "
              "[default: pt2 where the source allows it]")  # fmt: skip
@click.option("--trust", is_flag=True, help="Unpickle SOURCE, which runs whatever code its maker has put in.")
@click.option(
    "--isolated", is_flag=True, help="In a temporary environment with the family's package, removed afterwards."
)
@click.option("--install", "installs", is_flag=True, help="Install the model in KIM's user collection, and compile it.")
@click.option("--no-compile", is_flag=True, help="With --install, leave out compiling.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list,
              help="Say which families there are, what each needs and whether it is here.")  # fmt: skip
def convert(
    family: str, output: Path, name: str, isolated: bool, installs: bool, no_compile: bool,
    **asked: Any,
) -> None:  # fmt: skip
    """Make a folder that KIM can install of SOURCE, a file, a folder or the name of published weights, of a FAMILY of
    trained potentials (--list names them).

    It runs in the Python environment that the family's package is in, or with --isolated in a temporary one. What it
    writes needs torch alone. Before FOLDER appears, the model is computed as the driver computes it, and compared for
    five configurations with the package's own calculator, or with SOURCE where that is a folder.

    Exit status: 0 if the folder was written, 1 if something went wrong, 2 if what was asked makes no sense.
    """
    if no_compile and not installs:
        raise click.UsageError("--no-compile needs --install, got it alone; give both, or neither")
    with errors_as_sentences():
        _convert(family, output, name, isolated, installs, **asked)
    if installs:
        from kim_torchml.tools.cli.install import install

        click.get_current_context().invoke(install, folder=output, collection="user", store=None, no_compile=no_compile)


def _convert(word: str, output: Path, name: str, isolated: bool, installs: bool, **options: Any) -> None:
    from kim_torchml.tools.late_progress import LateProgress

    with ExitStack() as shown:
        progress = shown.enter_context(LateProgress())
        progress("importing torch", 0.0)
        _import_torch()
        from kim_torchml.tools.convert.conversion import check_request, convert
        from kim_torchml.tools.convert.families import FAMILIES
        from kim_torchml.tools.convert.family import Asked
        from kim_torchml.tools.convert.isolated import convert_isolated
        from kim_torchml.tools.package.wording import reworded_errors
        from kim_torchml.tools.request_error import RequestError, did_you_mean

        family = FAMILIES.get(word.lower())
        if family is None:
            raise RequestError(
                f"`family` must be one of {', '.join(FAMILIES)}, got '{word}'{did_you_mean(word, FAMILIES)}; correct it"
            )
        trusts = options.pop("trust")
        asked = Asked(**options, trusts=trusts)
        with reworded_errors(lambda message: message.replace("`name`", "--name")):
            reason = check_request(family, asked, output, name)
        if installs:
            _check_can_install(name)
        if isolated:
            # What the conversion itself says comes from the environment's own command, its exit status too.
            if status := convert_isolated(family, asked, output, name, _steps(progress), shown.close):
                raise click.exceptions.Exit(status)
            return
        if reason:
            click.echo(f"note: {reason}; it is unpickled, as you trust whoever made it (--trust)", err=True)
        with reworded_errors(lambda message: message.replace("`name`", "--name")):
            written = convert(family, asked, output, name, progress)
    click.echo(str(written))


def _check_can_install(name: str) -> None:
    """Check that KIM can take the model that will be converted: converting may take minutes."""
    from kim_torchml.tools.installation.install import check_can_install
    from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME
    from kim_torchml.tools.kim_collections.usable_kim_api import usable_kim_api

    check_can_install(name, DEFAULT_DRIVER_NAME, "user", usable_kim_api(os.environ))


def _steps(progress: LateProgress) -> Callable[[str, str, float | None], None]:
    """Return what shows the steps of making an environment; where stderr is no terminal, a line for each."""
    before = ""

    def say(step: str, how_far: str, fraction: float | None) -> None:
        nonlocal before
        if not progress.is_silent:
            progress(how_far or step, fraction)
        elif step != before:
            click.echo(step, err=True)
        before = step

    return say
