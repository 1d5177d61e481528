# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a verification check is."""

from collections.abc import Callable
from dataclasses import dataclass

from kim_torchml.verification.bench import Bench
from kim_torchml.verification.result import Finding

GRADED = "A-F"
PASS_FAIL = "P/F"


@dataclass(frozen=True)
class Check:
    """A verification check.

    Attributes:
        name: OpenKIM's name without its vc-.
        description: What it does, one sentence.
        run: Does it.
        grading: GRADED or PASS_FAIL.
        alone: Whether it runs in a process of its own, because what others leave behind would change what it finds.
    """

    name: str
    description: str
    run: Callable[[Bench], Finding]
    grading: str = PASS_FAIL
    alone: bool = False
