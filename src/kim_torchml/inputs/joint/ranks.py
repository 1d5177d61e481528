# SPDX-License-Identifier: LGPL-2.1-or-later
"""What several ranks that compute together do together."""

from typing import Protocol

import numpy as np


class Ranks(Protocol):
    """The ranks that compute together, each of which calls the same methods in the same order.

    All of them raise OtherRankError where another rank has failed.
    """

    @property
    def rank(self) -> int:
        """Place of this one among them."""

    def all_are(self, is_so: bool) -> bool:
        """Return whether something is so on all ranks."""

    def gathered(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all ranks, which may differ in their first size alone."""

    def exchanged(self, rows: np.ndarray, n_given: np.ndarray, n_taken: np.ndarray) -> np.ndarray:
        """Return rows from all ranks, in the order of these.

        Args:
            rows: Rows for each rank, in the order of these, shape [sum of n_given, ...].
            n_given: How many are for each, shape [ranks].
            n_taken: How many come from each, shape [ranks].
        """


def ranks_of(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the rank of each contributing particle that is numbered through all ranks, shape [m].

    Args:
        numbers: The particles, shape [m].
        counts: Number of contributing particles of each rank, shape [ranks].
    """
    return np.searchsorted(np.cumsum(counts), numbers, side="right")


def exchanged_counts(counts: np.ndarray, ranks: Ranks) -> np.ndarray:
    """Return the number that each rank has for this one, given those that this one has for each, shape [ranks]."""
    ones = np.ones(len(counts), dtype=np.int64)
    return ranks.exchanged(counts.astype(np.int64)[:, np.newaxis], ones, ones)[:, 0]
