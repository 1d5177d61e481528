# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the readers of a model's text files share. Anything may stand in these files: strangers write them."""

import math
import re

# Each digit can be matched in one way only: otherwise a long row of digits takes time that grows with its square.
# float() alone would take "3_5" for 35.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_LONGEST_QUOTE = 80


def lines_of(text: str) -> list[str]:
    """Return a text's lines as editors count them: str.splitlines also divides at form feeds and the like."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


def is_number(word: str) -> bool:
    """Return whether a word is a decimal number, with an exponent or without."""
    return _NUMBER.fullmatch(word) is not None


def to_number(word: str) -> float:
    """Return a word's value; NaN if it is no number."""
    return float(word) if is_number(word) else math.nan


def quoted(found: str) -> str:
    """Return what was found in a file for an error message, shortened where it is long."""
    shown = found if len(found) <= _LONGEST_QUOTE else f"{found[:_LONGEST_QUOTE]}..."
    return f"'{shown}'"
