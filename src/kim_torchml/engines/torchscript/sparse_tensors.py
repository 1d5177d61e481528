# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sparse tensors that a model makes: torch checks their indices only where it is asked to."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from kim_torchml.process.shared_setting import SharedSetting

_MAKERS = frozenset(f"aten::sparse_{layout}_tensor" for layout in ("coo", "compressed", "csr", "csc", "bsr", "bsc"))


def makes_sparse_tensors(nodes: Iterable[Any]) -> bool:
    """Return whether a node of a loaded graph makes a sparse tensor out of indices."""
    return any(node.kind() in _MAKERS for node in nodes)


def checked_sparse_tensors(makes_any: bool) -> AbstractContextManager[None]:
    """Return a context in which torch checks the indices of sparse tensors; one that does nothing if none are made.

    Without the check, indices beyond a tensor's sizes end the process as soon as the tensor is used.
    """
    return _checks if makes_any else nullcontext()


class _Checks(SharedSetting):
    """Torch's check of the indices of sparse tensors."""

    def _remember(self) -> None:
        self._was_on = torch.sparse.check_sparse_tensor_invariants.is_enabled()

    def _switch_on(self) -> None:
        torch.sparse.check_sparse_tensor_invariants.enable()

    def _put_back(self) -> None:
        if not self._was_on:
            torch.sparse.check_sparse_tensor_invariants.disable()


_checks = _Checks()
