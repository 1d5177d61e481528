# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command `kim-torchml`; each subcommand has a file of its own and is registered here."""

import io
import sys

import click

from kim_torchml import __version__
from kim_torchml.tools.cli.cache import cache
from kim_torchml.tools.cli.check import check
from kim_torchml.tools.cli.compile import compile_command
from kim_torchml.tools.cli.convert import convert
from kim_torchml.tools.cli.doctor import doctor
from kim_torchml.tools.cli.info import info
from kim_torchml.tools.cli.install import install
from kim_torchml.tools.cli.interruptible_group import InterruptibleGroup
from kim_torchml.tools.cli.package import package
from kim_torchml.tools.cli.remove import remove
from kim_torchml.tools.cli.replay import replay
from kim_torchml.tools.cli.store import store
from kim_torchml.tools.cli.upgrade import upgrade
from kim_torchml.tools.cli.verify import verify


@click.group(cls=InterruptibleGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kim-torchml")
def main() -> None:
    """PyTorch interatomic potentials in any KIM simulator: check the installation, and the models."""
    # Some terminals cannot show Å; they show a question mark instead of raising an error.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


main.add_command(cache)
main.add_command(check)
main.add_command(compile_command)
main.add_command(convert)
main.add_command(doctor)
main.add_command(info)
main.add_command(install)
main.add_command(package)
main.add_command(remove)
main.add_command(replay)
main.add_command(store)
main.add_command(upgrade)
main.add_command(verify)
