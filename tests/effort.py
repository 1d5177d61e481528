# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many cases the tests with random cases try.

By default they try the same cases in every run. With `KIM_TORCHML_FUZZ=20` they try 20 times as many, from seeds that
differ in every run; a failure names its seed, or for hypothesis the example.
"""

import os
import random

FACTOR = int(os.environ.get("KIM_TORCHML_FUZZ", "0"))
IS_RANDOM = FACTOR > 0


def times(count: int) -> int:
    """Return how many cases to try where the default is `count`."""
    return count * max(FACTOR, 1)


def seed(default: int) -> int:
    """Return a seed for random numbers: the default, or a new one where KIM_TORCHML_FUZZ is set."""
    return random.SystemRandom().randrange(2**31) if IS_RANDOM else default
