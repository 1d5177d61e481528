# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml remove`."""

import os
from contextlib import suppress
from pathlib import Path

import click

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli.user_errors import errors_as_sentences
from kim_torchml.tools.file_size import file_size
from kim_torchml.tools.kim_collections.kim_api import COLLECTIONS, Item

_EXAMPLE = "\b\nExample:\n  kim-torchml remove My_Model"


@click.command(epilog=_EXAMPLE, short_help="Remove an installed model.")
@click.argument("name")
@click.option(
    "--collection", type=click.Choice(list(COLLECTIONS)), help="KIM's collection to remove it from; needed for several."
)
def remove(name: str, collection: str | None) -> None:
    """Remove the installed portable model NAME from KIM's collection.

    A model file in the store of model files stays there, and so does what was compiled: other models may need it.
    """
    from kim_torchml.tools.installation.removal import remove_model
    from kim_torchml.tools.kim_collections.usable_kim_api import in_collection, models_named, usable_kim_api

    with errors_as_sentences():
        item = in_collection(models_named(usable_kim_api(os.environ), name), collection)
        stored, compiled = _stored_file(item), _advice_on_compiled(item)
        is_empty = remove_model(item)
    click.echo(f"{name} is removed from the {item.where} collection: {item.folder}")
    if not is_empty:
        click.echo("that folder stays, as it holds other files")
    if stored is not None:
        click.echo(
            f"its model file stays in the store: {stored} (`kim-torchml store --drop-unused` removes such files)"
        )
    if compiled:
        click.echo(compiled)


def _stored_file(item: Item) -> Path | None:
    """Return the file of a store that an installed model needs, if that is known."""
    from kim_torchml.driver.stores import stores_of_process
    from kim_torchml.tools.kim_collections.libraries import read_files
    from kim_torchml.tools.model_store.listing import needed_from_store

    digest = ""
    # A damaged model can be removed too.
    with suppress(DriverError):
        digest = needed_from_store(read_files([item], os.environ)[item])
    paths = [store.path_of(digest) for store in stores_of_process()] if digest else []
    return next((path for path in paths if path.exists()), None)


def _advice_on_compiled(item: Item) -> str:
    """Return what was compiled of an installed model, and how to remove it; an empty string where that is nothing."""
    from kim_torchml.process.cache_folder import entry_folders
    from kim_torchml.process.imports import import_needed_packages
    from kim_torchml.process.settings import cache_folder

    # A damaged model can be removed too, and so it can without torch, or a cache.
    with suppress(DriverError, OSError):
        if not any(entry_folders(cache_folder())):
            return ""
        import_needed_packages()
        from kim_torchml.tools.compilation.cached import cached_programs_of

        if found := cached_programs_of(item, os.environ):
            options = " ".join(f"--remove {each.short_key}" for each in found)
            size = file_size(sum(each.size for each in found))
            return f"what was compiled of it stays in the cache, {size} (`kim-torchml cache {options}` removes it)"
    return ""
