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
    from collections.abc import Callable

    from kim_torchml.engines import Progress
    from kim_torchml.tools.installation.candidate import Candidate
    from kim_torchml.tools.installation.install import Installation
    from kim_torchml.tools.late_progress import LateProgress

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
    if _say_what_opens(installed) and not no_compile:
        _compile(installed, candidate)


def _say_what_opens(installed: Installation) -> bool:
    """Return whether simulators open the installed model with this process's variables; where not, say why."""
    from kim_torchml.tools.compilation.environment_of_driver import python_elsewhere
    from kim_torchml.tools.compilation.remarks import why_no_model_opens

    # Another program, or the torch of another environment, may be fine with them.
    if installed.driver.ours is None or python_elsewhere(installed.driver):
        return True
    if reason := why_no_model_opens():
        click.echo(f"warning: simulators do not open {installed.name}: {reason}", err=True)
    return not reason


def _compile(installed: Installation, candidate: Candidate) -> None:
    """Compile an installed model where its format allows that; it runs uncompiled where this fails."""
    from kim_torchml.errors import DriverError
    from kim_torchml.process import settings
    from kim_torchml.tools.cli.compile import compiled_sentence
    from kim_torchml.tools.compilation.compile_model import can_be_compiled, compile_files
    from kim_torchml.tools.compilation.environment_of_driver import compile_there, python_elsewhere
    from kim_torchml.tools.late_progress import LateProgress

    name, files = installed.name, candidate.files
    if not can_be_compiled(files) or installed.driver.ours is None:
        return
    try:
        if settings.compile_word() == settings.NEVER:
            click.echo(f"note: {name} is not compiled, as {settings.COMPILE} is {settings.NEVER}", err=True)
            return
        if python := python_elsewhere(installed.driver):
            click.echo(
                f"note: {name} is not compiled: its driver runs in the environment of {python}; to compile it there, "
                f"run `{compile_there(python, name)}`",
                err=True,
            )
            return
        with LateProgress() as progress:
            say = _announced(progress, name, settings.execution_device())
            compiled = compile_files(name, files, settings.execution_device(), force=False, say=say)
    except DriverError as error:
        click.echo(f"warning: {name} runs uncompiled: {error}", err=True)
    else:
        click.echo(compiled_sentence(compiled))


def _announced(progress: LateProgress, name: str, device: str) -> Callable[[Progress], None]:
    """Return what shows how far compiling is, and says first that it has begun: it may fail at once."""
    from kim_torchml.tools.cli.compile import shown

    show, is_announced = shown(progress, name), False

    def say(found: Progress) -> None:
        nonlocal is_announced
        if not is_announced:
            click.echo(f"compiling {name} for {device}: a minute or a few (--no-compile leaves that out)", err=True)
        is_announced = True
        show(found)

    return say


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
