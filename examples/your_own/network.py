# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network of twenty lines in the form `edges`, the model of docs/tutorial.md."""

import torch
from torch import Tensor, nn


class MyPotential(nn.Module):
    """Energies from the moments of each particle's neighbourhood: sums over its edges of 1, u and u (x) u."""

    def __init__(self, cutoff: float, n_radial: int = 12, n_channels: int = 8) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("centres", torch.linspace(1.5, cutoff, n_radial))
        self.filters = nn.Linear(n_radial, n_channels, bias=False)
        self.network = nn.Sequential(nn.Linear(3 * n_channels, 48), nn.SiLU(), nn.Linear(48, 1))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the energy of each row, eV."""
        r = edge_vectors.square().sum(1, keepdim=True).sqrt()
        u = edge_vectors / r
        smooth = 0.5 + 0.5 * torch.cos(torch.pi * r / self.cutoff)
        radial = self.filters(smooth * torch.exp(-8.0 * (r - self.centres).square()))
        angular = torch.cat([torch.ones_like(r), u, (u[:, :, None] * u[:, None, :]).flatten(1)], 1)
        per_edge = angular[:, :, None] * radial[:, None, :]
        zeros = torch.zeros([species.shape[0], 13, radial.shape[1]], dtype=r.dtype, device=r.device)
        scalar, vector, tensor = zeros.index_add(0, edge_index[0], per_edge).split([1, 3, 9], 1)
        invariants = [scalar.squeeze(1), vector.square().sum(1), tensor.square().sum(1)]
        return self.network(torch.cat(invariants, 1)).squeeze(1)
