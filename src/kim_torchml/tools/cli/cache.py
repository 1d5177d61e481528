# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml cache`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import click

from kim_torchml.tools.cli.user_errors import errors_as_sentences
from kim_torchml.tools.file_size import file_size

if TYPE_CHECKING:
    from kim_torchml.engines import Cache
    from kim_torchml.tools.compilation.cached import CachedProgram

_EXAMPLE = "\b\nExample:\n  kim-torchml cache\n  kim-torchml cache --prune\n  kim-torchml cache --remove My_Model"


@click.command(epilog=_EXAMPLE, short_help="List the compiled models of this user, and prune them.")
@click.option("--prune", is_flag=True, help="Remove what is damaged, unfinished, or for another torch or machine.")
@click.option("--clear", is_flag=True, help="Remove all of it.")
@click.option(
    "--remove", "names", multiple=True, metavar="NAME",
    help="Remove what has this name, or a key that begins so; can be given several times.",
)  # fmt: skip
def cache(prune: bool, clear: bool, names: tuple[str, ...]) -> None:
    """List what was compiled for this user: key, model, device, speed beside the program itself with one thread, size,
    date, and why it cannot be run here, where that is so. What a simulator has compiled (KIM_TORCHML_COMPILE=now) has
    the name of the model file. The speed is that of the program alone; whole steps gain less.

    Everything in the cache can be made again, by `kim-torchml compile` or KIM_TORCHML_COMPILE=now. A cache that several
    machines share has entries for each of them; --prune removes those of the others too.

    Exit status: 0, 1 if the cache cannot be used, or 2 if there is nothing of a NAME.
    """
    with errors_as_sentences():
        from kim_torchml.process.imports import import_needed_packages

        import_needed_packages()
        from kim_torchml.tools.compilation.cached import cached_programs, named, user_cache
        from kim_torchml.tools.compilation.remarks import remarks_on_word

        for remark in remarks_on_word():
            click.echo(remark, err=True)
        place = user_cache()
        found = cached_programs(place)
        doomed = {each.folder: each for name in names for each in named(found, name)}
        if not names:
            _print(place, found)
        if prune or clear:
            doomed |= {each.folder: each for each in found if clear or each.problem}
        if prune or clear or names:
            _remove(place, list(doomed.values()), prune or clear)


def _print(place: Cache, found: list[CachedProgram]) -> None:
    from kim_torchml.tools.compilation.cached import size_of

    total, unfinished = sum(each.size for each in found), place.unfinished_folders()
    what = f"{len(found)} compiled, {file_size(total)}" if found else "nothing compiled" if unfinished else "empty"
    click.echo(f"{place.folder}: {what}")
    for each in found:
        made = datetime.datetime.fromtimestamp(each.made).strftime("%Y-%m-%d") if each.made else "?"
        speed = f"{each.speed_ups[1]:.2f} x" if each.speed_ups else "?"
        problem = f"  ({each.problem})" if each.problem else ""
        click.echo(
            f"  {each.short_key}  {each.name:<32} {each.device:<5} {each.dtype:<8} {speed:>7} "
            f"{file_size(each.size):>9}  {made}{problem}"
        )
    if unfinished:
        size = file_size(sum(map(size_of, unfinished)))
        click.echo(
            f"  {len(unfinished)} unfinished, {size}: of processes that compile now, "
            "or left by some that were killed, which --prune removes"
        )


def _remove(place: Cache, doomed: list[CachedProgram], is_tidied: bool) -> None:
    """Remove entries, and where the cache is tidied what processes have left that failed or were killed."""
    for each in doomed:
        place.remove(each.folder)
        click.echo(f"removed {each.short_key}  {each.name}{f'  ({each.problem})' if each.problem else ''}")
    unfinished = place.remove_unfinished() if is_tidied else []
    for folder in unfinished:
        click.echo(f"removed {folder.name}")
    if is_tidied:
        place.remove_reports()
    click.echo(
        f"removed {len(doomed)} compiled ({file_size(sum(each.size for each in doomed))}), {len(unfinished)} unfinished"
    )
