# SPDX-License-Identifier: LGPL-2.1-or-later
"""A message-passing network of any number of layers, of the size that trained ones have."""

import math
from typing import Final

import torch
from torch import Tensor, nn

import kim_torchml.engines  # noqa: F401 - registers the operator


class Exchanged(nn.Module):
    """What a layer is about to gather, with what other ranks have for the rows of their particles."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the features [n, ...] of all rows."""
        return torch.ops.kim_torchml.exchange(features)


class ContinuousFilterNetwork(nn.Module):
    """Continuous-filter convolutions over one set of edges, then a readout for each row.

    Ranks exchange features before each convolution but the first, whose inputs depend on species alone. What does not
    depend on other rows is computed for own rows alone.

    Source:
        K. T. Schütt et al., J. Chem. Phys. 148, 241722 (2018), arXiv:1712.06113.
    """

    n_layers: Final[int]
    cutoff: Final[float]

    def __init__(self, n_layers: int, cutoff: float, n_channels: int = 128, n_radial: int = 20) -> None:
        """Make the network with weights that are random, but the same every time.

        Args:
            n_layers: Number of convolutions.
            cutoff: Largest length of an edge, Å.
            n_channels: Number of features of a particle.
            n_radial: Number of functions of the length.
        """
        super().__init__()
        self.n_layers, self.cutoff = n_layers, cutoff
        with torch.random.fork_rng():
            torch.manual_seed(2026)
            self.register_buffer("frequencies", torch.arange(1.0, n_radial + 1.0) * math.pi / cutoff)
            self.initial = nn.Embedding(1, n_channels)
            self.sender = nn.ModuleList(nn.Linear(n_channels, n_channels, bias=False) for _ in range(n_layers))
            self.filters = nn.ModuleList(_two_linear(n_radial, n_channels, n_channels) for _ in range(n_layers))
            self.update = nn.ModuleList(_two_linear(n_channels, n_channels, n_channels) for _ in range(n_layers))
            self.readout = _two_linear(n_channels, max(1, n_channels // 2), 1)
        self.exchanges = nn.ModuleList(Exchanged() if layer else nn.Identity() for layer in range(n_layers))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the energies of the rows.

        Args:
            species: Species codes, shape [n], int64.
            edge_index: Centre and neighbour of each edge, shape [2, edges], int64.
            edge_vectors: Vectors from the centre to the neighbour, shape [edges, 3], float32, Å.
        Returns:
            Energies, shape [n], eV.
        """
        length = edge_vectors.square().sum(1, keepdim=True).sqrt()
        x = (length / self.cutoff).clamp(max=1.0)
        envelope = (1.0 - x * x) * (1.0 - x * x)
        radial = torch.sin(self.frequencies * length) / length
        features = self.initial(species)
        layers = zip(self.sender, self.exchanges, self.filters, self.update)  # noqa: B905
        for sender, exchange, filters, update in layers:
            sent = exchange(sender(features)).index_select(0, edge_index[1]) * (filters(radial) * envelope)
            received = torch.zeros_like(features).index_add(0, edge_index[0], sent)
            own = torch.ops.kim_torchml.own_rows(received)
            updated = features[: own.shape[0]] + update(own)
            features = torch.ops.kim_torchml.all_rows(updated, features.shape[0])
        return self.readout(features).squeeze(1)


def _two_linear(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))
