# SPDX-License-Identifier: LGPL-2.1-or-later
"""The network of examples/graph for the driver's kind `edges`, in plain torch."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

import kim_torchml.engines  # noqa: F401 - registers the operator that exchanges features between ranks

N_LAYERS = 2


class BondFunctions(NamedTuple):
    """Functions of the bonds along the edges, through which alone the network sees the geometry.

    Attributes:
        radial: Functions of the length, shape [edges, n_radial], 1/Å.
        vector: Direction u, from the centre to the neighbour, shape [edges, 3].
        tensor: Traceless tensor u (x) u - 1/3, entries xx, yy, zz, xz, yx, zy, shape [edges, 6].
    """

    radial: Tensor
    vector: Tensor
    tensor: Tensor


class MomentConvolution(nn.Module):
    """Update of particle features from the moments of their neighbourhood; see examples/graph/network.py."""

    n_channels: Final[int]

    def __init__(self, n_channels: int, n_radial: int, n_hidden: int) -> None:
        """Make the layer with random weights.

        Args:
            n_channels: Number of features of a particle.
            n_radial: Number of functions of the bond length.
            n_hidden: Width of the hidden layer that makes the new features.
        """
        super().__init__()
        self.n_channels = n_channels
        n_invariants = 4 * n_channels
        self.filters = nn.Linear(n_radial, 3 * n_channels, bias=False)
        self.sender = nn.Linear(n_channels, 3 * n_channels, bias=False)
        self.linear = nn.Linear(n_invariants, n_channels, bias=False)
        self.nonlinear = nn.Sequential(nn.Linear(n_invariants, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_channels))
        self.register_buffer("mean", torch.zeros(n_invariants))
        self.register_buffer("scale", torch.ones(n_invariants))

    def forward(self, features: Tensor, edge_index: Tensor, bonds: BondFunctions) -> Tensor:
        """Return the updated features.

        Args:
            features: Particle features, shape [n, n_channels].
            edge_index: Centre and neighbour of each edge, shape [2, edges].
            bonds: Functions of these bonds, in the same order.
        Returns:
            New features, shape [n, n_channels].
        """
        n, n_channels = features.shape[0], self.n_channels
        sent = self.sender(features).index_select(0, edge_index[1])
        scalar, vector, tensor = (self.filters(bonds.radial) * sent).split([n_channels, n_channels, n_channels], 1)
        vector = (bonds.vector.unsqueeze(2) * vector.unsqueeze(1)).flatten(1)
        tensor = (bonds.tensor.unsqueeze(2) * tensor.unsqueeze(1)).flatten(1)
        messages = torch.cat([scalar, vector, tensor], 1)
        moments = messages.new_zeros([n, 10 * n_channels]).index_add(0, edge_index[0], messages)
        invariants = torch.cat([features, self.invariants(moments)], 1)
        normalised = (invariants - self.mean) * self.scale
        return features + self.linear(normalised) + self.nonlinear(normalised)

    def invariants(self, moments: Tensor) -> Tensor:
        """Return the scalar moments and the squared norms of the others, shape [n, 3 n_channels]."""
        n_channels = self.n_channels
        scalar, rest = moments.split([n_channels, 9 * n_channels], 1)
        vector, diagonal, other = rest.square().view(-1, 9, n_channels).split([3, 3, 3], 1)
        return torch.cat([scalar, vector.sum(1), diagonal.sum(1) + 2.0 * other.sum(1)], 1)


class SiliconNetwork(nn.Module):
    """Energy of silicon: two convolutions over one set of edges, then a readout for each row.

    The driver gives every row all its edges that an energy which counts can depend on. So both convolutions may take
    the same edges, and the functions of the bonds are computed once for both.

    Several MPI ranks exchange features before the second convolution; those before the first are the same everywhere.
    """

    cutoff: Final[float]

    def __init__(self, cutoff: float, n_channels: int = 8, n_radial: int = 8, n_hidden: int = 32) -> None:
        """Make the network with random weights.

        Args:
            cutoff: Largest length of a bond, Å.
            n_channels: Number of features of a particle.
            n_radial: Number of functions of the bond length.
            n_hidden: Width of every hidden layer.
        """
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("frequencies", torch.arange(1.0, n_radial + 1.0) * math.pi / cutoff)
        self.initial = nn.Parameter(torch.randn(n_channels))
        self.convolutions = nn.ModuleList(MomentConvolution(n_channels, n_radial, n_hidden) for _ in range(N_LAYERS))
        self.linear = nn.Linear(n_channels, 1, bias=False)
        self.nonlinear = nn.Sequential(nn.Linear(n_channels, n_hidden), nn.SiLU(), nn.Linear(n_hidden, 1, bias=False))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the energies of the rows.

        Args:
            species: Not used but for their number, as there is only silicon, shape [n], int64.
            edge_index: Centre and neighbour of each edge, both directions of every bond, shape [2, edges], int64.
            edge_vectors: Vectors from the centre to the neighbour, shape [edges, 3], float64, Å.
        Returns:
            Energies with respect to isolated particles, shape [n], eV; of rows that do not contribute, anything.
        """
        bonds = self.bond_functions(edge_vectors)
        n = species.shape[0]
        # One more row, without edges, has the energy of an isolated particle, which is subtracted below.
        features = self.initial.expand(n + 1, -1)
        for layer, convolution in enumerate(self.convolutions):
            if layer > 0:
                # Rows of atoms of other ranks get what these have computed; nobody's edges lead to the last row.
                exchanged = torch.ops.kim_torchml.exchange(features[:n])
                features = torch.cat([exchanged, features[n:]])
            features = convolution(features, edge_index, bonds)
        energies = (self.linear(features) + self.nonlinear(features)).squeeze(1)
        return energies[:n] - energies[n]

    def bond_functions(self, edge_vectors: Tensor) -> BondFunctions:
        """Return the functions of bonds: spherical Bessel functions, direction, tensor.

        The radial functions go to zero at the cutoff with continuous first and second derivatives, and
        everything else is multiplied by them. So molecular dynamics conserves energy.

        Args:
            edge_vectors: Vectors from the centre of each edge to the neighbour, shape [edges, 3], Å.
        Returns:
            The functions, in the same order.
        Source:
            J. Gasteiger et al., ICLR 2020, arXiv:2003.03123, equations 7 and 8 (p = 6).
        """
        length = edge_vectors.square().sum(1, keepdim=True).sqrt()
        x = (length / self.cutoff).clamp(max=1.0)
        cubed = x * x * x
        envelope = 1.0 - cubed * cubed * (28.0 - 48.0 * x + 21.0 * x * x)
        radial = torch.sin(self.frequencies * length) * (envelope / length)
        u = edge_vectors / length
        tensor = torch.cat([u * u - 1.0 / 3.0, u * u.roll(1, 1)], 1)
        return BondFunctions(radial, u, tensor)
