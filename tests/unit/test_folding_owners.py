# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owners inferred from coordinates and species, against those that the makers of the lists know."""

import re
from functools import cache

import pytest
from folding_cases import CASES
from folding_differences import ADVICE, difference

from kim_torchml.inputs.folding.errors import FoldingRefusedError
from kim_torchml.inputs.folding.inference import infer


@cache
def outcome(name):
    """Return "right", "refused", or what is wrong."""
    case = CASES[name]
    padded = case.make()
    needed = padded.reached(case.cutoff)
    try:
        rows = infer(padded.particles(), case.cutoff, needed)
    except FoldingRefusedError as refusal:
        has_advice = re.search(ADVICE, str(refusal)) is not None
        return "refused" if case.may_be_refused and has_advice else f"refused: {refusal}"
    return difference(padded, rows, needed) or "right"


@pytest.mark.parametrize("name", CASES)
def test_owners(name):
    assert outcome(name) in (("right", "refused") if CASES[name].may_be_refused else ("right",))


def test_few_cases_are_refused():
    refused = {name for name in CASES if outcome(name) == "refused"}
    assert len(CASES) >= 120
    assert len(refused) < len(CASES) / 7
    # What is displaced has one explanation in whatever order.
    assert not any("displaced" in name for name in refused)
