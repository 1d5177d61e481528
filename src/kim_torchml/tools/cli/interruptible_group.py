# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands that end early with one line on stderr, and leave nothing behind."""

import errno
import os
import signal
import sys
from typing import Any

import click

from kim_torchml.tools.programs.signals import Interrupted, signals_raise


class InterruptibleGroup(click.Group):
    """Commands that end when a signal asks them to, or when their output goes to a full disk.

    After a signal the exit status is the one that shells use, 128 + the number of the signal: 130 for Ctrl-C.
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
            # An error that names a file is not about the output; the code that writes that file reports it.
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            # The text that is left in the buffer would fail too when Python flushes it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"cannot write the output: {error.strerror}; write it elsewhere") from error
