# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml store`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.tools.cli.spinner import spinner
from kim_torchml.tools.cli.user_errors import errors_as_sentences
from kim_torchml.tools.file_size import file_size

if TYPE_CHECKING:
    from kim_torchml.model_files.store import Store
    from kim_torchml.tools.model_store.listing import StoredFile, UsersOfFiles

_EXAMPLE = "\b\nExample:\n  kim-torchml store\n  kim-torchml store --drop-unused --yes"


@click.command(epilog=_EXAMPLE, short_help="List the store of model files, and drop what no installed model needs.")
@click.option("--drop-unused", is_flag=True, help="Remove the files that no installed model needs.")
@click.option("--yes", is_flag=True, help="Remove them without asking.")
def store(drop_unused: bool, yes: bool) -> None:
    """List the files in the store of model files: SHA-256, size, and the installed models that need them.

    The stores are the folders that KIM_TORCHML_MODEL_PATH names, or else one of your own. Models count that are
    installed in any of the collections that KIM sees now: with other configuration files or variables of KIM, other
    models may need what is unused here. The exit code is 1 if a store cannot be used.
    """
    if yes and not drop_unused:
        raise click.UsageError("--yes goes with --drop-unused")
    with errors_as_sentences():
        found, users, problems = _look()
        for each, files in found:
            _print(each, files, users)
        for problem in problems:
            click.echo(f"Error: {problem}", err=True)
        if drop_unused:
            _drop(found, users, yes)
    if problems:
        raise click.exceptions.Exit(1)


def _look() -> tuple[list[tuple[Store, list[StoredFile]]], UsersOfFiles, list[str]]:
    """Return the stores with their files, which models need what, and why other stores cannot be used."""
    from kim_torchml.driver.stores import stores_of_process
    from kim_torchml.tools.kim_collections.usable_kim_api import usable_kim_api
    from kim_torchml.tools.model_store.listing import stored_files, users_of_files

    kim_api = usable_kim_api(os.environ)
    found: list[tuple[Store, list[StoredFile]]] = []
    problems = []
    with spinner("reading the store") as say:
        for each in stores_of_process():
            # The user's own store is made when it is first needed.
            if each.is_private and not each.folder.exists():
                found.append((each, []))
                continue
            try:
                found.append((each, stored_files(each)))
            except DriverError as error:
                problems.append(str(error))
        say("reading installed models")
        return found, users_of_files(kim_api), problems


def _print(store: Store, files: list[StoredFile], users: UsersOfFiles) -> None:
    click.echo(f"{store.folder}{'' if files else ': no model file'}")
    for file in files:
        names = ", ".join(users.by_digest.get(file.digest, [])) or "unused"
        problem = f" ({file.problem})" if file.problem else ""
        click.echo(f"  {file.digest}  {file_size(file.size):>9}  {names}{problem}")


def _drop(found: list[tuple[Store, list[StoredFile]]], users: UsersOfFiles, is_agreed: bool) -> None:
    from kim_torchml.tools.model_store.listing import unused_files

    unused = [file for _, files in found for file in unused_files(files, users)]
    if not unused:
        click.echo("nothing to drop: no file is unused")
        return
    what = (
        f"{len(unused)} unused file{'' if len(unused) == 1 else 's'} ({file_size(sum(each.size for each in unused))})"
    )
    if not is_agreed:
        others = "Models that are installed under another configuration of KIM may need them."
        if not all(each.is_private for each, _ in found):
            others = f"Other people's models may need what {settings.MODEL_PATH} names. {others}"
        click.confirm(f"{others} Remove {what}?", abort=True)
    for file in unused:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise DriverError(
                f"cannot remove {file.path}: {error.strerror or error}; give yourself the right to write there"
            ) from error
    click.echo(f"removed {what}")
