# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much the tests by chance try.

By default they try the same in every run. `KIM_TORCHML_FUZZ=20` lets them try 20 times as much, from seeds of that
run alone; what fails names its seed, or for hypothesis the example.
"""

import os
import random

FACTOR = int(os.environ.get("KIM_TORCHML_FUZZ", "0"))
IS_RANDOM = FACTOR > 0


def times(count: int) -> int:
    """How often to try what is tried `count` times by default."""
    return count * max(FACTOR, 1)


def seed(default: int) -> int:
    """A seed for random numbers."""
    return random.SystemRandom().randrange(2**31) if IS_RANDOM else default
