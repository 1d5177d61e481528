# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models like those of models.py, each with one defect that a simulation would not show."""

import torch
from models import Edges, Edges1, Edges3, MessagePassing, Pair, PairWithForces
from torch import Tensor


class TurningWithAxes(Edges3):
    """Interacts more along the first axis."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3)
        factors = factors * (1.0 + 1e-3 * (edge_vectors[:, 0] / r).square())
        features = 1.0 + 0.1 * species.to(edge_vectors.dtype)
        for _ in range(self.n_layers):
            features = features.index_add(0, edge_index[0], factors * features[edge_index[1]])
        return features


class Handed(Edges1):
    """Tells left from right: the volume that three sums of edge vectors span changes its sign in a mirror."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        square = edge_vectors.square().sum(1, keepdim=True)
        smooth = (1.0 - square / 6.25).clamp(min=0.0).pow(3)
        n = species.shape[0]
        kinds = 1.0 + species.to(edge_vectors.dtype)[edge_index[1]].unsqueeze(1)
        first, second, third = [
            edge_vectors.new_zeros([n, 3]).index_add(0, edge_index[0], weight * smooth * edge_vectors)
            for weight in (kinds, square, kinds * square.square())
        ]
        return self.weight * (torch.linalg.cross(first, second) * third).sum(1)


class InOrder(Edges):
    """Interacts more with a later row than with an earlier one."""

    def __init__(self):
        super().__init__(1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        later = (edge_index[1] > edge_index[0]).to(r.dtype)
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3) * (1.0 + 1e-3 * later)
        return torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


class MeanOverRows(Edges):
    """Shifts each energy by a mean over all rows, images among them."""

    def __init__(self):
        super().__init__(1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3)
        energies = torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)
        return energies + 1e-3 * energies.mean()


class CountingImages(MessagePassing):
    """Returns the total of all particles, those that do not contribute included."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1]).sum()


class Random(Edges3):
    """Adds random numbers."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3)
        energies = torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)
        return energies + 1e-13 * torch.rand_like(energies)


class Remembering(Edges):
    """Adds something of how often it was called."""

    def __init__(self):
        super().__init__(1)
        self.register_buffer("calls", torch.zeros([1], dtype=torch.float64))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        self.calls.add_(1e-12)
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3)
        return self.calls + torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


class SingleInside(Edges):
    """Takes double precision, and computes in single precision."""

    def __init__(self):
        super().__init__(1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.to(torch.float32).square().sum(1).sqrt()
        factors = 0.3 * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3)
        energies = torch.zeros_like(species, dtype=torch.float32).index_add(0, edge_index[0], factors)
        return energies.to(edge_vectors.dtype)


class LosingDigits(Edges):
    """Loses in single precision what double precision has room for."""

    def __init__(self):
        super().__init__(1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = (self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3) + 3e4) - 3e4
        return torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


class WrongForces(PairWithForces):
    """Returns forces that are a little too large."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> tuple[Tensor, Tensor]:
        energies, forces = self.energy_and_forces(species, coordinates, n_neighbours, neighbours)
        return energies, 1.0001 * forces


class FailingAlone(Edges):
    """Looks for the longest edge, and fails where there is none."""

    def __init__(self):
        super().__init__(1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3) + 0.0 * r.max()
        return torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


class BeyondTheCutoff(Pair):
    """Adds an interaction with all particles, neighbours or not."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        energies = self.site_energies(species, coordinates, n_neighbours, neighbours)
        n = n_neighbours.numel()
        squares = (coordinates[:n, None] - coordinates[None]).square().sum(2)
        return energies + 1e-3 * (1.0 / (1.0 + squares)).sum(1)
