# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small TorchScript models that behave well: a pair potential (None) and message passing (Graph and Edges).

formulas.py has their formulas in numpy.
"""

import functools
import io

import torch
from torch import Tensor, nn

CUTOFF = 2.5


@functools.cache
def script_bytes(kind, dtype=torch.float64, **arguments):
    """Return the TorchScript file of a model class, as bytes; dtype None leaves its tensors as they are."""
    buffer = io.BytesIO()
    model = kind(**arguments)
    torch.jit.save(torch.jit.script(model if dtype is None else model.to(dtype)), buffer)
    return buffer.getvalue()


class Pair(nn.Module):
    """Morse pair potential with a smooth cutoff; the strength of a pair is the product of its species' strengths."""

    def __init__(self):
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(1.7, dtype=torch.float64))
        self.register_buffer("bond", torch.tensor([1.3], dtype=torch.float64))

    def site_energies(self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor) -> Tensor:
        n = n_neighbours.numel()
        first = torch.repeat_interleave(torch.arange(n, device=coordinates.device), n_neighbours.to(torch.int64))
        second = neighbours.to(torch.int64)
        r = (coordinates[second] - coordinates[first]).square().sum(1).sqrt()
        decay = torch.exp(-self.decay * (r - self.bond))
        strength = 1.0 + 0.1 * species.to(coordinates.dtype)
        pairs = strength[first] * strength[second] * (decay.square() - 2.0 * decay) * (1.0 - (r / 2.5).square()).pow(3)
        return torch.zeros(n, dtype=coordinates.dtype, device=coordinates.device).index_add(0, first, 0.5 * pairs)


class PairTotal(Pair):
    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours).sum()


class PairTotalInBrackets(Pair):
    """Returns the total energy, in the shape [1, 1]."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours).sum().reshape(1, 1)


class PairOfContributing(Pair):
    """Returns one energy per contributing particle, in the shape [contributing]."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours)


class PairOfAll(Pair):
    """Returns one energy per particle, in the shape [n, 1].

    The energies of non-contributing particles mean nothing, but have a gradient.
    """

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        own = self.site_energies(species, coordinates, n_neighbours, neighbours)
        rubbish = 100.0 + coordinates[contributing == 0].sum(1)
        return torch.cat([own, rubbish]).unsqueeze(1)


class PairWithForces(Pair):
    """Returns (energy per contributing particle, forces [n, 3]); it differentiates its energy itself."""

    def energy_and_forces(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor
    ) -> tuple[Tensor, Tensor]:
        energies = self.site_energies(species, coordinates, n_neighbours, neighbours)
        gradient = torch.autograd.grad([energies.sum()], [coordinates])[0]
        assert gradient is not None
        return energies, -gradient

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.energy_and_forces(species, coordinates, n_neighbours, neighbours)


class PairWithFlatForces(PairWithForces):
    """Returns (total energy, forces [3n])."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> tuple[Tensor, Tensor]:
        energies, forces = self.energy_and_forces(species, coordinates, n_neighbours, neighbours)
        return energies.sum(), forces.reshape(-1)


class MessagePassing(nn.Module):
    """Features start as the species' strengths; each layer adds the neighbours' features, less those far away."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))

    def layer(self, features: Tensor, coordinates: Tensor, edge_index: Tensor) -> Tensor:
        first, second = edge_index[0], edge_index[1]
        r = (coordinates[second] - coordinates[first]).square().sum(1).sqrt()
        messages = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3) * features[second]
        return features.index_add(0, first, messages)

    def energies(self, species: Tensor, coordinates: Tensor, edges: list[Tensor]) -> Tensor:
        features = 1.0 + 0.1 * species.to(coordinates.dtype)
        for layer in range(len(edges)):
            features = self.layer(features, coordinates, edges[len(edges) - 1 - layer])
        return features + 0.1 * features.square()


class Graph1(MessagePassing):
    """Returns one energy per particle; those of non-contributing particles mean nothing."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1])


class Graph2(MessagePassing):
    """Returns one energy per contributing particle."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, edges_2: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1, edges_2])[mask == 0]


class Graph3(MessagePassing):
    """Returns one energy per particle, in the shape [n, 1]."""

    def forward(
        self, species: Tensor, coordinates: Tensor, edges_1: Tensor, edges_2: Tensor, edges_3: Tensor, mask: Tensor
    ) -> Tensor:
        return self.energies(species, coordinates, [edges_1, edges_2, edges_3]).unsqueeze(1)


class Graph4(MessagePassing):
    """Returns the total energy, in the shape [1, 1]; it sums by the mask, as published models do."""

    def forward(
        self,
        species: Tensor,
        coordinates: Tensor,
        edges_1: Tensor,
        edges_2: Tensor,
        edges_3: Tensor,
        edges_4: Tensor,
        mask: Tensor,
    ) -> Tensor:
        energies = self.energies(species, coordinates, [edges_1, edges_2, edges_3, edges_4]).unsqueeze(1)
        sums = torch.zeros([int(mask.max()) + 1, 1], dtype=energies.dtype, device=energies.device)
        return sums.index_add(0, mask, energies)[::2]


class GraphWithForces(MessagePassing):
    """Returns (total energy, forces [n, 3]); it has two layers."""

    def forward(
        self, species: Tensor, coordinates: Tensor, edges_1: Tensor, edges_2: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        energy = self.energies(species, coordinates, [edges_1, edges_2])[mask == 0].sum()
        gradient = torch.autograd.grad([energy], [coordinates], allow_unused=True)[0]
        return energy, torch.zeros_like(coordinates) if gradient is None else -gradient


class Edges(nn.Module):
    """The message passing above from the vectors of edges; returns one energy per row.

    Those of rows that do not contribute mean nothing.
    """

    def __init__(self, n_layers: int):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
        self.n_layers = n_layers

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * torch.exp(-r) * (1.0 - (r / 2.5).square()).pow(3)
        features = 1.0 + 0.1 * species.to(edge_vectors.dtype)
        for _ in range(self.n_layers):
            features = features.index_add(0, edge_index[0], factors * features[edge_index[1]])
        return features + 0.1 * features.square()


class Edges1(Edges):
    def __init__(self):
        super().__init__(1)


class Edges3(Edges):
    def __init__(self):
        super().__init__(3)


PAIRS = [PairTotal, PairTotalInBrackets, PairOfContributing, PairOfAll, PairWithForces, PairWithFlatForces]
GRAPHS = {1: Graph1, 2: Graph2, 3: Graph3, 4: Graph4}
# These give no particle energies.
TOTALS = {PairTotal, PairTotalInBrackets, PairWithFlatForces, Graph4, GraphWithForces}
# What the files of each model say besides the defaults of `parameter_text` and `toml_text`.
PARAMETERS = {kind: {"returns_forces": kind.__name__.endswith("Forces")} for kind in PAIRS}
PARAMETERS |= {kind: {"kind": "Graph", "n_layers": n_layers} for n_layers, kind in GRAPHS.items()}
PARAMETERS |= {Edges1: {"kind": "Edges", "n_layers": 1}, Edges3: {"kind": "Edges", "n_layers": 3}}
PARAMETERS[GraphWithForces] = {"kind": "Graph", "n_layers": 2, "returns_forces": True}
