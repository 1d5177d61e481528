# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml info`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from kim_torchml.tools.cli.spinner import spinner
from kim_torchml.tools.cli.table_console import table_console
from kim_torchml.tools.cli.user_errors import errors_as_sentences

if TYPE_CHECKING:
    from kim_torchml.tools.model_info.facts import ModelFacts

_EXAMPLE = (
    "\b\nExample:\n  kim-torchml info ./My_Model\n  kim-torchml info model.pt2\n  kim-torchml info My_Model --json"
)


@click.command(epilog=_EXAMPLE, short_help="Show all that a model says of itself, and how to cite it.")
@click.argument("target")
@click.option("--json", "as_json_text", is_flag=True, help="Print JSON in place of the table.")
def info(target: str, as_json_text: bool) -> None:
    """Show all that a model says of itself, what opening it as the driver does shows, and how to cite it.

    TARGET is a model's folder, a TorchScript file (.pt) or torch.export program (.pt2), or the KIM id of an installed
    model; a path that is there comes before an id. KIM is needed for installed models only.

    Exit status: 0 if all is well, 1 if the model cannot be read or opened, 2 if TARGET is no model.
    """
    with errors_as_sentences():
        facts = _find_out(target)
    if as_json_text:
        from kim_torchml.tools.model_info.as_json import as_json

        # A terminal or pipe may not accept UTF-8.
        click.echo(json.dumps(as_json(facts), indent=1, ensure_ascii=True, allow_nan=False))
    else:
        from kim_torchml.tools.model_info.table import print_facts

        print_facts(table_console(), facts)
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
