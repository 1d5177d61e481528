# SPDX-License-Identifier: LGPL-2.1-or-later
"""Message-passing network for silicon as a TorchScript module, for the driver's kind `Graph`."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

N_LAYERS = 2  # number of edge indices that `SiliconNetwork.forward` takes


class BondFunctions(NamedTuple):
    """Functions of the bonds along a set of edges, through which alone the network sees the geometry.

    Attributes:
        radial: Functions of the length, shape [edges, n_radial], 1/Å.
        vector: Direction u, from the first particle to the second, shape [edges, 3].
        tensor: Traceless tensor u (x) u - 1/3, entries xx, yy, zz, xz, yx, zy, shape [edges, 6].
    """

    radial: Tensor
    vector: Tensor
    tensor: Tensor


class MomentConvolution(MessagePassing):
    """Update of particle features from the moments of their neighbourhood.

    Each neighbour j of particle i sends its features, weighted by functions of the distance and
    multiplied by the scalar 1, the vector u and the traceless tensor u (x) u - 1/3 of their bond. The
    sums over j are the moments of the neighbourhood. Their squared norms do not change under rotations,
    but depend on the angles between bonds. The layer makes the new features from these norms and the
    old features of i.

    Messages flow from `edge_index[1]` to `edge_index[0]`, the centre. The driver sorts edges by
    their first particle, so that the sums run through memory in order.

    Source:
        Moments of a neighbourhood: A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016).
        Filters of the distance, messages: K. T. Schuett et al., J. Chem. Phys. 148, 241722 (2018).
    """

    n_channels: Final[int]

    def __init__(self, n_channels: int, n_radial: int, n_hidden: int) -> None:
        """Make the layer with random weights; `normalise` sets the scale of its invariants later.

        Args:
            n_channels: Number of features of a particle.
            n_radial: Number of functions of the bond length.
            n_hidden: Width of the hidden layer that makes the new features.
        """
        super().__init__(aggr="sum", flow="target_to_source")
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
            edge_index: Both directions of every bond, shape [2, edges].
            bonds: Functions of these bonds, in the same order.
        Returns:
            New features, shape [n, n_channels].
        """
        invariants = self.invariants(features, edge_index, bonds)
        normalised = (invariants - self.mean) * self.scale
        return features + self.linear(normalised) + self.nonlinear(normalised)

    def invariants(self, features: Tensor, edge_index: Tensor, bonds: BondFunctions) -> Tensor:
        """Return features, sums and squared norms of the moments, shape [n, 4 n_channels]."""
        moments = self.propagate(
            edge_index,
            sent=self.sender(features),
            filters=self.filters(bonds.radial),
            vectors=bonds.vector,
            tensors=bonds.tensor,
        )
        n_channels = self.n_channels
        scalar, rest = moments.split([n_channels, 9 * n_channels], 1)
        vector, diagonal, other = rest.square().view(-1, 9, n_channels).split([3, 3, 3], 1)
        squared_tensor = diagonal.sum(1) + 2.0 * other.sum(1)
        return torch.cat([features, scalar, vector.sum(1), squared_tensor], 1)

    def message(self, sent_j: Tensor, filters: Tensor, vectors: Tensor, tensors: Tensor) -> Tensor:
        """Return what each edge adds to its centre, shape [edges, 10 n_channels]."""
        n_channels = self.n_channels
        scalar, vector, tensor = (filters * sent_j).split([n_channels, n_channels, n_channels], 1)
        vector = vectors.unsqueeze(2) * vector.unsqueeze(1)
        tensor = tensors.unsqueeze(2) * tensor.unsqueeze(1)
        return torch.cat([scalar, vector.flatten(1), tensor.flatten(1)], 1)

    @torch.jit.unused
    def normalise(self, invariants: Tensor) -> None:
        """Set mean and scale so that these invariants get mean 0 and standard deviation 1.

        Otherwise the squared norms are orders of magnitude smaller than the sums, and training is slow.

        Args:
            invariants: Typical invariants, shape [n, 4 n_channels].
        """
        deviation = invariants.std(0)
        # The features that enter the first layer are the same for every particle, so they do not deviate at all.
        deviation[deviation < 1e-6] = 1.0
        self.mean.copy_(invariants.mean(0))
        self.scale.copy_(1.0 / deviation)


class SiliconNetwork(nn.Module):
    """Energy of silicon: two convolutions, then a readout for each particle.

    Only the energies of contributing particles count, so the last convolution must be right for these
    alone, and `edge_index_1` holds all their edges. It reads the features of their neighbours, so the
    first convolution must be right for the neighbours too, and `edge_index_2` holds all edges of both.
    Farther out edges are missing and features are wrong, but no energy that counts depends on them.
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

    def forward(
        self,
        species: Tensor,
        coordinates: Tensor,
        edge_index_1: Tensor,
        edge_index_2: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """Return the particle energies.

        Args:
            species: Not used, as there is only silicon, shape [n], int64.
            coordinates: Cartesian coordinates, shape [n, 3], float64, Å.
            edge_index_1: Edges that touch a contributing particle, shape [2, E1], int64.
            edge_index_2: Edges that touch a contributing particle or a neighbour of one, shape [2, E2], int64.
            mask: 0 = contributing, 1 = not, shape [n], int64.
        Returns:
            Energies, 0 for non-contributing particles, shape [n], eV.
        """
        edges = [edge_index_2, edge_index_1]
        bonds: list[BondFunctions] = []
        for edge_index in edges:
            end = coordinates.index_select(0, edge_index[1])
            bonds.append(self.bond_functions(end - coordinates.index_select(0, edge_index[0])))
        return self.particle_energies(coordinates.size(0), edges, bonds) * (mask == 0)

    def bond_functions(self, edge_vectors: Tensor) -> BondFunctions:
        """Return the functions of bonds: spherical Bessel functions, direction, tensor.

        The radial functions go to zero at the cutoff with continuous first and second derivatives, and
        everything else is multiplied by them. So molecular dynamics conserves energy.

        Args:
            edge_vectors: Vectors from the first particle of each edge to the second, shape [edges, 3], Å.
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

    def particle_energies(self, n_particles: int, edges: list[Tensor], bonds: list[BondFunctions]) -> Tensor:
        """Return the energies of all particles; they are right for particles whose surroundings are complete.

        Args:
            n_particles: Number of particles.
            edges: Edge indices for each convolution in turn, shape [2, edges].
            bonds: Functions of these edges.
        Returns:
            Energies with respect to isolated particles, shape [n_particles], eV.
        """
        # One more particle, without neighbours, has the energy of an isolated particle, which is subtracted below.
        features = self.initial.expand(n_particles + 1, -1)
        for layer, convolution in enumerate(self.convolutions):
            features = convolution(features, edges[layer], bonds[layer])
        energies = (self.linear(features) + self.nonlinear(features)).squeeze(1)
        return energies[:n_particles] - energies[n_particles]
