# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml install`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kim_torchml.tools.cli.spinner import spinner
from kim_torchml.tools.cli.user_errors import errors_as_sentences
from kim_torchml.tools.kim_collections.kim_api import COLLECTIONS

if TYPE_CHECKING:
    from kim_torchml.tools.installation.candidate import Candidate
    from kim_torchml.tools.installation.install import Installation

_EXAMPLE = (
    "\b\nExample:\n  kim-torchml install ./My_Model\n  kim-torchml install ./My_Model --collection system --no-store"
)


@click.command(epilog=_EXAMPLE, short_help="Install a model, in place of an older one.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--collection", type=click.Choice(list(COLLECTIONS)), default="user", show_default=True,
    help="KIM's collection to install into.",
)  # fmt: skip
@click.option(
    "--store/--no-store", "store", default=None,
    help="Put the model file into the store of model files, or let KIM keep it. "
    "By default, files above 8 MB go to the store where KIM-API is older than 2.4, which takes minutes for them.",
)  # fmt: skip
@click.option(
    "--no-compile", is_flag=True,
    help="Leave out compiling the model for this machine, which takes a minute or a few for a .pt2 file.",
)  # fmt: skip
def install(folder: Path, collection: str, store: bool | None, no_compile: bool) -> None:
    """Install the model in FOLDER into one of KIM's collections, in place of an older model of its name.

    FOLDER is checked first, as the driver would read it; it is not changed. Then KIM runs its CMakeLists.txt, which can
    do anything: install what you trust. If the new model cannot be built, the older one stays. The store is the first
    folder that KIM_TORCHML_MODEL_PATH names, or else one of your own.

    A model file that is a program of torch.export (.pt2) is then compiled for the device that
    KIM_MODEL_EXECUTION_DEVICE names, as `kim-torchml compile` does it, unless KIM_TORCHML_COMPILE is never. Where that
    fails the model is installed all the same, and runs uncompiled.
    """
    with errors_as_sentences():
        installed, candidate, warnings = _install(folder, collection, store)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    place = ", in place of an older one" if installed.replaced else ""
    click.echo(f"{installed.name} is installed in the {collection} collection{place}: {installed.folder}")
    click.echo(f"driver: {installed.driver.name}, {installed.driver.state}")
    if installed.stored is not None:
        click.echo(f"model file: in the store, {installed.stored}")
    if not no_compile:
        _compile(installed, candidate)


def _compile(installed: Installation, candidate: Candidate) -> None:
    """Compile an installed model where its format allows that; it runs uncompiled where this fails."""
    from kim_torchml.errors import DriverError
    from kim_torchml.process import settings
    from kim_torchml.tools.cli.compile import compiled_sentence, shown
    from kim_torchml.tools.compilation.compile_model import can_be_compiled, compile_files
    from kim_torchml.tools.compilation.environment_of_driver import compile_there, python_elsewhere
    from kim_torchml.tools.late_progress import LateProgress

    files = candidate.files
    try:
        if not can_be_compiled(files) or settings.compile_word() == settings.NEVER:
            return
        if installed.driver.ours is None:
            return
        if python := python_elsewhere(installed.driver):
            click.echo(
                f"note: {installed.name} is not compiled: its driver runs in the environment of {python}; to compile "
                f"it there, run `{compile_there(python, installed.name)}`",
                err=True,
            )
            return
        device = settings.execution_device()
        click.echo(
            f"compiling {installed.name} for {device}: a minute or a few (--no-compile leaves that out)", err=True
        )
        with LateProgress() as progress:
            compiled = compile_files(installed.name, files, device, force=False, say=shown(progress))
    except DriverError as error:
        click.echo(f"warning: {installed.name} runs uncompiled: {error}", err=True)
    else:
        click.echo(compiled_sentence(compiled))


def _install(folder: Path, collection: str, store: bool | None) -> tuple[Installation, Candidate, list[str]]:
    """Install a model; return what was done, the model, and what its user should know."""
    with spinner(f"reading {folder}") as say:
        # These modules are imported here so that the other subcommands do not have to wait for torch.
        from kim_torchml.driver.stores import stores_of_process
        from kim_torchml.tools.installation.build import BuildError
        from kim_torchml.tools.installation.candidate import read_candidate
        from kim_torchml.tools.installation.install import goes_to_store, install_model, warnings_about, why_slow
        from kim_torchml.tools.kim_collections.usable_kim_api import usable_kim_api

        stores = stores_of_process()
        candidate = read_candidate(folder.absolute(), stores)
        kim_api = usable_kim_api(os.environ)
        to_store = goes_to_store(candidate, store, kim_api)
        slow = "" if to_store else why_slow(candidate, kim_api)
        try:
            installed = install_model(candidate, collection, kim_api, stores, to_store, say)
        except BuildError as error:
            click.echo("".join(f"  {line}\n" for line in error.output), err=True, nl=False)
            raise
    return installed, candidate, [*filter(None, [slow]), *warnings_about(installed, candidate, collection, stores)]
