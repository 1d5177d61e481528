# SPDX-License-Identifier: LGPL-2.1-or-later
"""Expressions for sizes in a file. They are never evaluated: sizes come from the tensors of a call.

Torch's own loader evaluates them as Python code, so that a file with anything else than arithmetic is an attack.
"""

import re
from functools import lru_cache

# One symbol for a size: as torch 2.13 writes it, and as its predecessors do.
_SYMBOL = re.compile(r"Symbol\('([a-z]{1,3}\d+)'(?:, [a-z]+=(?:True|False))*\)|([a-z]{1,3}\d+)")
_FUNCTIONS = """
    Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatPow FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt
    Identity IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or Piecewise Pow PowByNatural
    PythonMod Rational RoundToInt StrictGreaterThan StrictLessThan Symbol ToFloat TruncToFloat TruncToInt Unequality
    Where ceiling false floor true
"""
_ASSUMPTIONS = "positive negative nonnegative nonpositive integer real zero nonzero finite precision True False"
# Floating numbers stand in quotation marks, with their precision: Float('0.5', precision=53).
_NAME, _NUMBER = r"[a-z]{1,3}\d+", r"\d+(?:\.\d*)?(?:e[-+]?\d+)?"
_TOKEN = re.compile(
    rf"(?:{'|'.join((_FUNCTIONS + _ASSUMPTIONS).split())})\b|'(?:{_NAME}|-?{_NUMBER})'|{_NAME}\b|{_NUMBER}"
    r"|[-+*/(),=<>&|~ ]"
)
_LONGEST = 10_000


def is_arithmetic(expression: str) -> bool:
    """Return whether an expression has only names of sizes, numbers, and arithmetic and comparisons of these."""
    # What is too long is not kept for later calls either.
    return len(expression) <= _LONGEST and _has_known_tokens(expression)


@lru_cache(maxsize=4096)
def _has_known_tokens(expression: str) -> bool:
    place = 0
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            return False
        place = token.end()
    return place > 0


def symbol_of(expression: str) -> str | None:
    """Return the name of the size that an expression is; None if it is anything else."""
    found = _SYMBOL.fullmatch(expression)
    return (found[1] or found[2]) if found else None
