# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts of networks that compute rows of other ranks' particles for none: they are put in place of a package's own.

The package's part stays as it is. Rows of other ranks become 0 where they are not computed: an exchange fills them in,
and energies of them do not count. On one rank all rows are own ones.
"""

import torch

import kim_torchml.engines.exchange  # noqa: F401 - registers the operators


class OfOwnRows(torch.nn.Module):
    """A part that takes features of rows, and gives others for each row by itself."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the part gives for own rows, shape [rows, ...]."""
        own = torch.ops.kim_torchml.own_rows(features)
        return torch.ops.kim_torchml.all_rows(self.part(own), features.shape[0])  # type: ignore[no-any-return]


class OfOwnRowsAndAttributes(torch.nn.Module):
    """A part that takes features and attributes of rows."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, features: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """Return what the part gives for own rows, shape [rows, ...]."""
        own = torch.ops.kim_torchml.own_rows(features)
        found = self.part(own, attributes[: own.shape[0]])
        return torch.ops.kim_torchml.all_rows(found, features.shape[0])  # type: ignore[no-any-return]
