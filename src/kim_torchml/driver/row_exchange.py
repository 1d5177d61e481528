# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exchange of features between ranks during one compute."""

import math

import numpy as np
import torch

from kim_torchml.inputs.joint_rows import JointRows, Ranks


class RowExchange:
    """Carries features from the rows of particles to the copies that other ranks have of them, and derivatives back.

    It is what `engines.exchange.Exchange` asks for.
    """

    def __init__(self, rows: JointRows, ranks: Ranks) -> None:
        """Keep the rows, and the ranks that have any."""
        self._rows, self._ranks = rows, ranks
        self.n_own = rows.n_own

    def forward(self, rows: torch.Tensor) -> None:
        """Overwrite the rows of other ranks' particles by what these have."""
        known, flat = self._rows, _flat(rows)
        taken = self._ranks.exchanged(flat[known.given], known.n_given, known.n_taken)
        # A program may be called with more rows, which stand for nothing.
        _copy(taken, rows[known.n_own : known.n_rows])

    def backward(self, rows: torch.Tensor) -> None:
        """Add the rows of other ranks' particles to these ranks' own rows, and set them to 0."""
        known, flat = self._rows, _flat(rows)
        back = self._ranks.exchanged(flat[known.n_own : known.n_rows], known.n_taken, known.n_given)
        of_others = torch.from_numpy(back).to(rows.device).reshape(len(back), *rows.shape[1:])
        rows[: known.n_own].index_add_(0, torch.from_numpy(known.given).to(rows.device), of_others)
        rows[known.n_own :] = 0.0


def _flat(rows: torch.Tensor) -> np.ndarray:
    """Return rows as an array [rows, width] on the CPU."""
    array: np.ndarray = rows.detach().reshape(len(rows), math.prod(rows.shape[1:])).cpu().numpy()
    return array


def _copy(taken: np.ndarray, rows: torch.Tensor) -> None:
    rows.copy_(torch.from_numpy(taken).reshape(rows.shape))
