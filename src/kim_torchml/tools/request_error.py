# SPDX-License-Identifier: LGPL-2.1-or-later
"""The error for what a user asks of a command and cannot mean, or that this machine cannot do at all."""

from collections.abc import Iterable
from difflib import get_close_matches

from kim_torchml.errors import DriverError


class RequestError(DriverError):
    """A request that no attempt can fulfil: the exit status of a command is 2 then, and not 1."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the word that is closest to a misspelt one, or nothing where none is close."""
    by_lower_case = {each.lower(): each for each in words}
    close = get_close_matches(word.lower(), by_lower_case, n=1)
    return f"; did you mean '{by_lower_case[close[0]]}'?" if close else ""
