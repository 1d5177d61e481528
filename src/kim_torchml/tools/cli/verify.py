# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml verify`: OpenKIM's verification checks on an installed KIM portable model."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kim_torchml.tools import output_file
from kim_torchml.tools.cli.required_packages import require_packages
from kim_torchml.tools.cli.table_console import table_console

if TYPE_CHECKING:
    from kim_torchml.tools.verification.result import Verification
    from kim_torchml.tools.verification.runner import Options

STDOUT = Path("-")
# s. One day, because select(2) refuses much longer times.
LONGEST = 24 * 3600.0


class _Seconds(click.FloatRange):
    """A range of seconds that refuses NaN, which click's own range accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


class CannotVerifyError(click.ClickException):
    """Nothing could be checked, or a file not be written: the exit status is 2, because 1 means that a check failed."""

    exit_code = 2


def _list_checks(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Print the checks and exit."""
    del parameter
    if not value or context.resilient_parsing:
        return
    from rich.table import Table

    from kim_torchml.tools.verification.catalogue import CATALOGUE

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for check in CATALOGUE.values():
        table.add_row(check.name, check.grading, check.description)
    table_console().print(table)
    context.exit()


_EXAMPLE = (
    "\b\nExample:\n  kim-torchml verify My_Model\n  kim-torchml verify My_Model --check objectivity --html report.html"
)


@click.command(epilog=_EXAMPLE)
@click.argument("model")
@click.option(
    "--check", "names", multiple=True, metavar="NAME", help="Run this check only (may be given several times)."
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_checks, help="List the checks and exit."
)
@click.option("--species", multiple=True, metavar="NAME", help="Check this species only (may be given several times).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with plots.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write everything that was found as JSON; - is standard output, in place of the table.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--timeout", type=_Seconds(min=0, max=LONGEST, min_open=True), default=600.0, show_default=True,
    help="Seconds after which a check that has not ended counts as failed.",
)  # fmt: skip
def verify(
    model: str,
    names: tuple[str, ...],
    species: tuple[str, ...],
    html: Path | None,
    json_path: Path | None,
    seed: int,
    timeout: float,
) -> None:
    """Run OpenKIM's ten verification checks on the installed KIM portable model MODEL.

    Exit status: 0 if no check has grade F, 1 if one has, 2 if nothing could be checked or a file not be written.
    """
    of_report = ("jinja2", "matplotlib") if html else ()
    require_packages("verify", "numpy", "ase", "kimpy", *of_report, error=CannotVerifyError)
    from kim_torchml.tools.verification.checks import CHECKS
    from kim_torchml.tools.verification.runner import Options

    if unknown := [name for name in names if name not in CHECKS]:
        raise click.UsageError(f"there is no check {unknown[0]}; --list shows those that there are")
    if html is not None and json_path is not None and html.resolve() == json_path.resolve():
        raise click.UsageError(f"--html and --json both name {html}: name two files")
    _try_to_write(html, json_path)
    chosen = [name for name in CHECKS if name in names] if names else list(CHECKS)
    # The run at constant energy is a figure of the report, not a check.
    nve = html is not None and not names
    found = _run(Options(model, chosen, seed, species, nve, timeout), json_path == STDOUT)
    _write(found, html, json_path)
    sys.exit(1 if found.failures else 0)


def _run(options: Options, quiet: bool) -> Verification:
    """Run the checks with progress on stderr, and print the table."""
    from rich.console import Console

    from kim_torchml.tools.kim_host.model import ModelError
    from kim_torchml.tools.verification.progress import with_progress
    from kim_torchml.tools.verification.table import print_model, print_results

    console = table_console()
    try:
        found = with_progress(options, Console(stderr=True))
    except ModelError as error:
        raise CannotVerifyError(str(error)) from error
    if not quiet:
        print_model(console, found.model)
        print_results(console, found)
    return found


def _try_to_write(*paths: Path | None) -> None:
    """Fail before the checks, which take minutes, if a file cannot be written afterwards."""
    for path in paths:
        if path is None or path == STDOUT:
            continue
        if not path.resolve().parent.is_dir():
            raise click.UsageError(f"there is no folder {path.parent} to write {path.name} into")
        if reason := output_file.why_not_writable(path):
            raise CannotVerifyError(f"cannot write {path}: {reason}; name another file")


def _write(found: Verification, html: Path | None, json_path: Path | None) -> None:
    """Write the files that were asked for; if one cannot be written, the other is all the same."""
    texts: dict[Path, str] = {}
    if json_path is not None:
        content: dict[str, Any] = found.as_json()
        # A terminal or pipe may not accept UTF-8.
        in_ascii = json_path == STDOUT
        texts[json_path] = json.dumps(content, indent=1, ensure_ascii=in_ascii, allow_nan=False) + "\n"
    if html is not None:
        from kim_torchml.tools.verification.html_report import html_report

        texts[html] = html_report(found)
    if STDOUT in texts:
        click.echo(texts.pop(STDOUT), nl=False)
    reasons = {path: output_file.write(path, text) for path, text in texts.items()}
    if html is not None and not reasons[html]:
        click.echo(f"report: {html}", err=True)
    if failed := [f"cannot write {path}: {reason}" for path, reason in reasons.items() if reason]:
        raise CannotVerifyError(f"{'; '.join(failed)}; make room there, or name another file")
