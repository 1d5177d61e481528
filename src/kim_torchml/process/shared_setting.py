# SPDX-License-Identifier: LGPL-2.1-or-later
"""Settings of torch that are the whole process's, switched on for the calls that need them."""

import threading
from abc import abstractmethod
from contextlib import AbstractContextManager


class SharedSetting(AbstractContextManager[None]):
    """A setting that is on as long as any call needs it; when the last one ends, it is put back."""

    def __init__(self) -> None:
        # A signal handler may compute too, in the thread that the signal has interrupted.
        self._lock = threading.RLock()
        self._calls = 0

    def __enter__(self) -> None:
        """Begin a call."""
        with self._lock:
            if self._calls == 0:
                self._remember()
            self._switch_on()
            self._calls += 1

    def __exit__(self, *_: object) -> None:
        """End a call; the last one puts back what the first one found."""
        with self._lock:
            self._calls -= 1
            if self._calls == 0:
                self._put_back()

    @abstractmethod
    def _remember(self) -> None:
        """Keep what the setting is before the first call."""

    @abstractmethod
    def _switch_on(self) -> None:
        """Switch the setting on; it may be on."""

    @abstractmethod
    def _put_back(self) -> None:
        """Put back what was kept."""
