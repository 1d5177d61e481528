# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a command ends early: with one line, and nothing left behind."""

import errno
import os
import signal
import sys
from typing import Any

import click

from kim_torchml.tools.programs.signals import Interrupted, signals_raise


class InterruptibleGroup(click.Group):
    """Commands that end on a signal with the status that shells give it, 128 + its number: 130 for Ctrl-C.

    Where standard output is a file on a full disk, they say so and end.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            with signals_raise():
                return super().invoke(ctx)
        except Interrupted as interrupt:
            by_hand = interrupt.number == signal.SIGINT
            how = "interrupted" if by_hand else f"ended by {signal.Signals(interrupt.number).name}"
            click.echo(f"kim-torchml: {how}", err=True)
            raise click.exceptions.Exit(128 + interrupt.number) from interrupt
        except OSError as error:
            # Of a file with a name, whoever writes it says so.
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            # What is still in the buffer cannot be written either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"cannot write the output: {error.strerror}; write it elsewhere") from error
