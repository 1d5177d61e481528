# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks of MACE on several ranks: each computes the rows of its own particles, and they exchange what is gathered.

The products of the messages of a row take a large part of a step, whether the row has any edges or not: so rows of
other ranks' particles are not computed.
"""

import torch

from kim_torchml.tools.convert.exchanged import exchange_what_comes_of
from kim_torchml.tools.convert.own_rows import OfOwnRows, OfOwnRowsAndAttributes

# Parts of a layer that compute each row by itself, as its blocks call them.
_OF_ROWS = ("linear", "linear_1", "linear_2", "linear_res", "equivariant_nonlin", "skip_linear", "skip_tp")
# What gives features that a layer gathers by the sender of each edge; the second one is in blocks with attention. The
# first layer needs those of all rows, which depend on species alone.
_GATHERED = ("linear_up", "linear_down")
# What takes attributes of rows too.
_WITH_ATTRIBUTES = "FullyConnectedTensorProduct"


class ProductOfOwnRows(torch.nn.Module):
    """The products of messages, and what a layer adds to them."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, node_feats: torch.Tensor, sc: torch.Tensor | None, node_attrs: torch.Tensor) -> torch.Tensor:
        """Return the features of own rows, shape [rows, ...]; the arguments are called as MACE calls them."""
        own = torch.ops.kim_torchml.own_rows(node_feats)
        n_own = own.shape[0]
        added = None if sc is None else sc[:n_own]
        found = self.part(own, added, node_attrs[:n_own])
        return torch.ops.kim_torchml.all_rows(found, node_feats.shape[0])  # type: ignore[no-any-return]


def share_rows(network: torch.nn.Module) -> None:
    """Let ranks share the rows of a network, which is changed."""
    for number, layer in enumerate(network.interactions):  # type: ignore[arg-type]
        for name in (*_OF_ROWS, *(_GATHERED if number else ())):
            part = layer._modules.get(name)
            if part is not None:
                has_attributes = type(part).__name__ == _WITH_ATTRIBUTES
                layer._modules[name] = OfOwnRowsAndAttributes(part) if has_attributes else OfOwnRows(part)
        if number:
            # The other rows of what is gathered are filled in.
            exchange_what_comes_of(layer, *_GATHERED)
    products = [ProductOfOwnRows(product) for product in network.products]  # type: ignore[union-attr]
    network.products = torch.nn.ModuleList(products)
