# SPDX-License-Identifier: LGPL-2.1-or-later
"""Computes in which ranks exchange features: who takes part in them, and what a rank without particles does."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from kim_torchml.driver.row_exchange import RowExchange
from kim_torchml.engines.exchange import exchanging
from kim_torchml.inputs.joint import JointRows
from kim_torchml.process.communicator import Communicator, agreed


class JointCompute:
    """The exchanges of one model.

    Only ranks with particles of their own call the network, and so exchange features.
    """

    def __init__(self, communicator: Communicator) -> None:
        """Keep the ranks, all of which call the same methods in the same order."""
        self._all = communicator
        self._is_active = np.ones(communicator.size, dtype=bool)
        self._active: Communicator | None = communicator

    def take_part(self, rows: JointRows) -> None:
        """Settle which ranks exchange features; all ranks must call this before each exchange."""
        is_active = rows.n_own_of_ranks > 0
        if is_active.all() and self._active is self._all:
            return
        # From now on, those that exchange tell each other alone: whoever has failed before has told all.
        self._all.check_all_well()
        if np.array_equal(is_active, self._is_active):
            return
        if self._active is not None and self._active is not self._all:
            self._active.free()
        self._is_active = is_active
        if is_active.all():
            self._active = self._all
        else:
            self._active = self._all.among(bool(is_active[self._all.rank]))

    def all_are(self, is_so: bool) -> bool:
        """Return whether something is so on all ranks that exchange features, each of which must call this."""
        assert self._active is not None
        return self._active.all_are(is_so)

    @contextmanager
    def exchange(self, rows: JointRows) -> Iterator[None]:
        """Let the network exchange features; only ranks with particles of their own may call this."""
        active = self._active
        assert active is not None
        with (
            nullcontext() if active is self._all else agreed(active),
            exchanging(RowExchange(rows.among(self._is_active), active)),
        ):
            yield
