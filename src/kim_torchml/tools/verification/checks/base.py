# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a verification check is."""

from collections.abc import Callable
from dataclasses import dataclass

from kim_torchml.tools.verification.model_under_test import Bench
from kim_torchml.tools.verification.result import Finding


@dataclass(frozen=True)
class Check:
    """A verification check.

    Attributes:
        name: As in the catalogue, which says what it does.
        run: Does it.
        alone: Whether it runs in a process of its own, because what others leave behind would change what it finds.
    """

    name: str
    run: Callable[[Bench], Finding]
    alone: bool = False
