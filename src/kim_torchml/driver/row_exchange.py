# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exchange of features between ranks during one compute."""

import math

import numpy as np
import torch

from kim_torchml.inputs.joint import JointRows, Ranks


class RowExchange:
    """Carries features from the rows of particles to the copies that other ranks have of them, and derivatives back.

    It is what `engines.exchange.Exchange` asks for.
    """

    def __init__(self, rows: JointRows, ranks: Ranks) -> None:
        """Keep the rows, and the ranks that have any."""
        self._rows, self._ranks = rows, ranks
        self.n_own = rows.n_own
        self._given: torch.Tensor | None = None

    def forward(self, rows: torch.Tensor) -> None:
        """Overwrite the rows of other ranks' particles by what these have."""
        known = self._rows
        taken = self._ranks.exchanged(_bytes(rows[self._given_of(rows)]), known.n_given, known.n_taken)
        # A program may be called with more rows, which stand for nothing.
        rows[known.n_own : known.n_rows] = _rows(taken, rows)

    def backward(self, rows: torch.Tensor) -> None:
        """Add the rows of other ranks' particles to these ranks' own rows, and set them to 0."""
        known = self._rows
        back = self._ranks.exchanged(_bytes(rows[known.n_own : known.n_rows]), known.n_taken, known.n_given)
        rows[: known.n_own].index_add_(0, self._given_of(rows), _rows(back, rows))
        rows[known.n_own :] = 0.0

    def _given_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the own rows that others have copies of, on the device of the rows."""
        if self._given is None:
            self._given = torch.from_numpy(self._rows.given).to(rows.device)
        return self._given


def _bytes(rows: torch.Tensor) -> np.ndarray:
    """Return rows as bytes on the CPU, shape [rows, bytes of each]: numpy does not know all floating types."""
    array: np.ndarray = rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return array.reshape(len(rows), rows.element_size() * math.prod(rows.shape[1:]))


def _rows(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Return rows of bytes as those of a tensor, on its device."""
    flat = torch.from_numpy(array).reshape(-1).view(like.dtype)
    return flat.reshape(len(array), *like.shape[1:]).to(like.device)
