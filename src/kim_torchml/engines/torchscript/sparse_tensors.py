# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sparse tensors that a model makes: torch checks their indices only where it is asked to."""

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

_MAKERS = frozenset(f"aten::sparse_{layout}_tensor" for layout in ("coo", "compressed", "csr", "csc", "bsr", "bsc"))


def makes_sparse_tensors(nodes: Iterable[Any]) -> bool:
    """Return whether a node of a loaded graph makes a sparse tensor out of indices."""
    return any(node.kind() in _MAKERS for node in nodes)


def checked_sparse_tensors(makes_any: bool) -> AbstractContextManager[None]:
    """Return a context in which torch checks the indices of sparse tensors; one that does nothing if none are made.

    Without the check, indices beyond a tensor's sizes end the process as soon as the tensor is used.
    """
    return _checks if makes_any else nullcontext()


class _Checks(AbstractContextManager[None]):
    """Torch's check, which is the whole process's setting: on as long as any call needs it, then as it was before."""

    def __init__(self) -> None:
        # A signal handler may compute too, in the thread that the signal has interrupted.
        self._lock = threading.RLock()
        self._calls = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            if self._calls == 0:
                self._was_on = torch.sparse.check_sparse_tensor_invariants.is_enabled()
            torch.sparse.check_sparse_tensor_invariants.enable()
            self._calls += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1
            if self._calls == 0 and not self._was_on:
                torch.sparse.check_sparse_tensor_invariants.disable()


_checks = _Checks()
