# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signs that a model was made for atomic numbers: with species codes it would give wrong energies without an error."""

import re
from collections.abc import Sequence

from kim_torchml.engines.contract import Program
from kim_torchml.model_files.elements import ATOMIC_NUMBERS

# What authors call a tensor of atomic numbers: z, Z, zs, z_list, zlist, atomic_numbers, atomicnum, atomic_no, anum,
# numbers, element_numbers, proton_numbers, charges, nuclear_charge.
_NAME = re.compile(
    r"_?zs?|_?z_.*|zlist|.*_z|.*atom(ic)?_?(num|nr|nos?\b|z\b).*|a_?nums?|((elements?|protons?)_?)?numbers?"
    r"|charges|nuclear_?charges?",
    re.IGNORECASE,
)

# A table for species codes may have some room to spare, but not as much as one for atomic numbers.
_FEWEST_ROWS = 10
_ROWS_PER_ELEMENT = 4


def sign_of_atomic_numbers(program: Program, elements: Sequence[str]) -> str:
    """Return what speaks for a model that expects atomic numbers as its first argument, or an empty string.

    Args:
        program: The model.
        elements: Symbols of its chemical elements.
    """
    names = program.argument_names()
    if names and _NAME.fullmatch(names[0]):
        return f"its first argument is called {names[0]}"
    largest = max(ATOMIC_NUMBERS[symbol] for symbol in elements)
    fewest = max(_FEWEST_ROWS, _ROWS_PER_ELEMENT * len(elements), largest + 1)
    for table in program.tables():
        if table.n_rows >= fewest:
            what = "1 element" if len(elements) == 1 else f"{len(elements)} elements"
            return f"its table `{table.name}` of species has {table.n_rows} rows for {what}"
    return ""
