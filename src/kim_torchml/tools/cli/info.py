# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml info`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from kim_torchml.tools.cli.spinner import spinner
from kim_torchml.tools.cli.user_errors import errors_as_sentences

if TYPE_CHECKING:
    from kim_torchml.tools.model_info.facts import ModelFacts

# Width of the table if standard output is no terminal.
_PIPED_WIDTH = 120

_EXAMPLE = (
    "\b\nExample:\n  kim-torchml info ./My_Model\n  kim-torchml info model.pt\n  kim-torchml info My_Model --json"
)


@click.command(epilog=_EXAMPLE, short_help="Show all that a model says of itself, and how to cite it.")
@click.argument("target")
@click.option("--json", "as_json_text", is_flag=True, help="Print JSON in place of the table.")
def info(target: str, as_json_text: bool) -> None:
    """Show all that a model says of itself, what opening it as the driver does shows, and how to cite it.

    TARGET is a model's folder, a TorchScript file (.pt), or the KIM id of an installed model; a path that is there
    comes before an id. KIM is needed for installed models only. The exit code is 1 if the model cannot be opened.
    """
    with errors_as_sentences():
        facts = _find_out(target)
    if as_json_text:
        from kim_torchml.tools.model_info.as_json import as_json

        # A terminal or pipe may not accept UTF-8.
        click.echo(json.dumps(as_json(facts), indent=1, ensure_ascii=True, allow_nan=False))
    else:
        from rich.console import Console

        from kim_torchml.tools.model_info.table import print_facts

        is_piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        print_facts(Console(width=_PIPED_WIDTH if is_piped else None, highlight=False, emoji=False), facts)
    if facts.problem:
        raise click.exceptions.Exit(1)


def _find_out(target: str) -> ModelFacts:
    with spinner(f"looking for {target}") as say:
        from kim_torchml.process import notices
        from kim_torchml.process.imports import import_needed_packages
        from kim_torchml.tools.model_info.target import find_target

        found = find_target(target, os.environ)
        say("importing torch")
        import_needed_packages()
        from kim_torchml.tools.model_info.gathering import describe

        notices.leave_out_first_use()
        return describe(target, found, os.environ, say)
