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

_EXAMPLE = "\b\nExample:\n  kim-torchml cache\n  kim-torchml cache --prune"


@click.command(epilog=_EXAMPLE, short_help="List the compiled models of this user, and prune them.")
@click.option("--prune", is_flag=True, help="Remove what is damaged, unfinished, or for another torch or machine.")
@click.option("--clear", is_flag=True, help="Remove all of it.")
def cache(prune: bool, clear: bool) -> None:
    """List what was compiled for this user: model, device, speed beside the program itself with one thread, size, date,
    and why it cannot be run here, where that is so.

    Everything in the cache can be made again, by `kim-torchml compile` or KIM_TORCHML_COMPILE=now. A cache that several
    machines share has entries for each of them; --prune removes those of the others too.

    Exit status: 0, or 1 if the cache cannot be used.
    """
    with errors_as_sentences():
        from kim_torchml.process.imports import import_needed_packages

        import_needed_packages()
        from kim_torchml.tools.compilation.cached import cached_programs, user_cache

        place = user_cache()
        found = cached_programs(place)
        _print(place, found)
        if prune or clear:
            _remove(place, [each for each in found if clear or each.problem])


def _print(place: Cache, found: list[CachedProgram]) -> None:
    total = sum(each.size for each in found)
    click.echo(f"{place.folder}: {len(found)} compiled, {file_size(total)}" if found else f"{place.folder}: empty")
    for each in found:
        made = datetime.datetime.fromtimestamp(each.made).strftime("%Y-%m-%d") if each.made else "?"
        speed = f"{each.speed_ups[1]:.2f} x" if each.speed_ups else "?"
        problem = f"  ({each.problem})" if each.problem else ""
        click.echo(
            f"  {each.folder.name[:12]}  {each.name:<32} {each.device:<5} {each.dtype:<8} {speed:>7} "
            f"{file_size(each.size):>9}  {made}{problem}"
        )


def _remove(place: Cache, doomed: list[CachedProgram]) -> None:
    for each in doomed:
        place.remove(each.folder)
    unfinished = place.remove_unfinished()
    place.remove_reports()
    click.echo(
        f"removed {len(doomed)} compiled ({file_size(sum(each.size for each in doomed))}), {unfinished} unfinished"
    )
