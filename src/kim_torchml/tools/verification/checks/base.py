# SPDX-License-Identifier: LGPL-2.1-or-later
"""What all verification checks have."""

from collections.abc import Callable
from dataclasses import dataclass

from kim_torchml.tools.verification.model_under_test import ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome


@dataclass(frozen=True)
class Check:
    """A verification check.

    Attributes:
        name: name of the check in the catalogue, which describes it.
        run: function that does the check.
        alone: whether it runs in a process of its own, because what other checks leave in memory would disturb it.
    """

    name: str
    run: Callable[[ModelUnderTest], CheckOutcome]
    alone: bool = False
