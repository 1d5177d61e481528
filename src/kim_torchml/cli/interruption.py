# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a command ends on Ctrl-C and its kin: with one line, and nothing left behind."""

import signal
from typing import Any

import click

from kim_torchml.interruption import Interrupted, signals_raise


class InterruptibleGroup(click.Group):
    """Commands that end on a signal with the status that shells give it, 128 + its number: 130 for Ctrl-C."""

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
