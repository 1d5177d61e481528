# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tiny TorchScript models of every kind of input. They are quick and smooth and tell species apart."""

import hashlib
import io
import json
import warnings

import torch
from kim_collection import DRIVER, PortableModel
from torch import Tensor, nn

CUTOFF = 2.9  # Å: four neighbours in silicon
ELEMENTS = ("Si", "Ge")


def fade(squared_distances: Tensor, cutoff: Tensor) -> Tensor:
    """Return 1 at distance 0, falling to 0 at the cutoff and beyond, with two continuous derivatives."""
    return torch.clamp(1.0 - squared_distances / cutoff.square(), min=0.0).pow(3)


class RawModel(nn.Module):
    """E_i = 1/2 sum_j s(i, j) fade(r_ij) - 0.1 (sum_j fade(r_ij))^2."""

    def __init__(self, gives: str = "contributing", dtype: torch.dtype = torch.float64) -> None:
        """Make the model; `gives` says which energies it returns.

        These are `contributing` (of the contributing particles), `all` (nonsense for the other particles) or `total`.
        """
        super().__init__()
        self.gives = gives
        self.register_buffer("cutoff", torch.tensor(CUTOFF, dtype=dtype))

    def energies(self, species: Tensor, coordinates: Tensor, counts: Tensor, neighbours: Tensor) -> Tensor:
        n = counts.size(0)
        centre = torch.repeat_interleave(torch.arange(n, device=coordinates.device), counts.to(torch.int64))
        other = neighbours.to(torch.int64)
        bonds = fade((coordinates[other] - coordinates[centre]).square().sum(1), self.cutoff)
        strength = (2.0 + species[centre]) * (3.0 + species[other])
        zero = torch.zeros(n, dtype=bonds.dtype, device=bonds.device)
        density = zero.index_add(0, centre, bonds)
        return zero.index_add(0, centre, 0.5 * strength * bonds) - 0.1 * density.square()

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        energies = self.energies(species, coordinates, n_neighbours, neighbours)
        if self.gives == "all":
            others = coordinates.size(0) - energies.size(0)
            return torch.cat([energies, 7.0 * torch.ones(others, dtype=energies.dtype, device=energies.device)])
        return energies.sum() if self.gives == "total" else energies


class RawModelWithForces(RawModel):
    """A model that differentiates its energy itself, as TorchMLModel1_SW does."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> tuple[Tensor, Tensor]:
        energies = self.energies(species, coordinates, n_neighbours, neighbours)
        gradient = torch.autograd.grad([energies.sum()], [coordinates])[0]
        assert gradient is not None
        return energies, -gradient.reshape(-1)


class RawCounts(RawModel):
    """The energy of a particle is the number of its neighbours: nothing fades at the cutoff."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return n_neighbours.to(coordinates.dtype)


class RawModelThatPrints(RawModel):
    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        print("the model says", coordinates.size(0))
        return self.energies(species, coordinates, n_neighbours, neighbours)


class RawModelThatWarns(RawModel):
    """A model whose warning torch writes to stderr itself."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        warnings.warn("the model is unsure", stacklevel=2)
        return self.energies(species, coordinates, n_neighbours, neighbours)


class RawSlow(RawModel):
    """A model that first spends about a second in torch if there are more than 60 particles."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        if coordinates.size(0) > 60:
            waste = torch.ones([300000], dtype=torch.float64)
            for _ in range(300):
                waste = waste.sin()
        return self.energies(species, coordinates, n_neighbours, neighbours)


class GraphLayers(nn.Module):
    """h_i = 1 + code_i / 2; each layer adds tanh(0.3 sum_j fade(r_ij) h_j); the energies are the h_i."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.register_buffer("cutoff", torch.tensor(CUTOFF, dtype=dtype))

    def energies(self, species: Tensor, coordinates: Tensor, edges: list[Tensor]) -> Tensor:
        features = 1.0 + 0.5 * species.to(coordinates.dtype)
        for layer in range(len(edges)):
            # The largest set of edges comes first, so that the features of contributing particles are right in the end.
            pairs = edges[len(edges) - 1 - layer]
            bonds = fade((coordinates[pairs[1]] - coordinates[pairs[0]]).square().sum(1), self.cutoff)
            message = torch.zeros_like(features).index_add(0, pairs[0], bonds * features[pairs[1]])
            features = features + torch.tanh(0.3 * message)
        return features


class GraphModel1(GraphLayers):
    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1])


class GraphModel2(GraphLayers):
    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, edges_2: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1, edges_2])


class GraphModel3(GraphLayers):
    def forward(
        self, species: Tensor, coordinates: Tensor, edges_1: Tensor, edges_2: Tensor, edges_3: Tensor, mask: Tensor
    ) -> Tensor:
        return self.energies(species, coordinates, [edges_1, edges_2, edges_3])


class GraphCounts(GraphLayers):
    """The energy of a particle is the number of its neighbours, counted from the edges."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        ones = torch.ones(edges_1.size(1), dtype=coordinates.dtype, device=coordinates.device)
        return torch.zeros_like(coordinates[:, 0]).index_add(0, edges_1[0], ones)


class GraphTotal(GraphLayers):
    """A model of two layers that returns the total energy, as TorchMLModel3_Graph does."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, edges_2: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1, edges_2])[mask == 0].sum()


class EdgeLayers(GraphLayers):
    """The message passing above from the vectors of edges: all layers take the same ones."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.n_layers = n_layers

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        bonds = fade(edge_vectors.square().sum(1), self.cutoff)
        features = 1.0 + 0.5 * species.to(edge_vectors.dtype)
        for _ in range(self.n_layers):
            message = torch.zeros_like(features).index_add(0, edge_index[0], bonds * features[edge_index[1]])
            features = features + torch.tanh(0.3 * message)
        return features


class ExchangedLayers(GraphLayers):
    """Three layers as above, which get the features of other ranks' particles."""

    def layer(self, features: Tensor, edge_index: Tensor, bonds: Tensor) -> Tensor:
        message = torch.zeros_like(features).index_add(0, edge_index[0], bonds * features[edge_index[1]])
        return features + torch.tanh(0.3 * message)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        bonds = fade(edge_vectors.square().sum(1), self.cutoff)
        features = self.layer(1.0 + 0.5 * species.to(edge_vectors.dtype), edge_index, bonds)
        features = self.layer(torch.ops.kim_torchml.exchange(features), edge_index, bonds)
        return self.layer(torch.ops.kim_torchml.exchange(features), edge_index, bonds)


class DescriptorModel(nn.Module):
    """A small network that returns the energies of the contributing particles; it is linear but for one function."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.4, -0.3, 0.2], dtype=torch.float64))

    def forward(self, descriptors: Tensor) -> Tensor:
        return 10.0 * torch.tanh(descriptors @ self.weights)


class EdgesModel(nn.Module):
    """The energies of RawModel, with scaled bonds, from the vectors of edges."""

    def __init__(self, scale: float = 1.0, ballast: int = 0) -> None:
        """Make the model; `ballast` is a number of weights that do nothing but make its file large."""
        super().__init__()
        self.register_buffer("cutoff", torch.tensor(CUTOFF, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("ballast", torch.rand(ballast, dtype=torch.float64))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        centre, other = edge_index[0], edge_index[1]
        bonds = fade(edge_vectors.square().sum(1), self.cutoff)
        strength = self.scale * (2.0 + species[centre]) * (3.0 + species[other])
        zero = torch.zeros(species.size(0), dtype=bonds.dtype, device=bonds.device)
        density = zero.index_add(0, centre, bonds)
        return zero.index_add(0, centre, 0.5 * strength * bonds) - 0.1 * density.square()


def scripted(module: nn.Module) -> bytes:
    """Return the TorchScript file of a module."""
    # It registers the operators that models call. Some tests import another package of this name first.
    import kim_torchml.engines  # noqa: F401

    content = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), content)
    return content.getvalue()


def parameter_file(kind: str, n_layers: int = 0, returns_forces: bool = False) -> str:
    """Return the text of a parameter file for a model of these tests; `kind` is None or Graph."""
    layers = f"{n_layers}\n" if kind == "Graph" else ""
    n_inputs = 3 + n_layers if kind == "Graph" else 5
    return (
        f"# Elements\n{len(ELEMENTS)}\n{' '.join(ELEMENTS)}\n\n{kind}\n# Cutoff\n{CUTOFF}\n{layers}"
        f"model.pt\n{str(returns_forces).lower()}\n{n_inputs}\nNone\n"
    )


def descriptor(name: str, module: nn.Module) -> PortableModel:
    """Return a portable model of the kind Descriptor, with three symmetry functions."""
    pairs = "".join(f"{first} {second} {CUTOFF}\n" for first in ELEMENTS for second in ELEMENTS)
    functions = "2\ng2 2 2\n0.1 0.0\n0.4 1.0\ng4 1 3\n2 -1 0.02\n"
    files = {
        "file.param": (
            f"{len(ELEMENTS)}\n{' '.join(ELEMENTS)}\nDescriptor\n{CUTOFF}\nmodel.pt\nfalse\n1\nSymmetryFunctions\n"
        ).encode(),
        "file.dat": f"cos\n{len(ELEMENTS)}\n{pairs}{functions}".encode(),
        "model.pt": scripted(module),
    }
    return PortableModel(name, files)


def raw(name: str, module: nn.Module, returns_forces: bool = False, driver: str = DRIVER) -> PortableModel:
    """Return a portable model of the kind None."""
    files = {"file.param": parameter_file("None", 0, returns_forces).encode(), "model.pt": scripted(module)}
    return PortableModel(name, files, driver)


def graph(name: str, module: nn.Module, n_layers: int) -> PortableModel:
    """Return a portable model of the kind Graph."""
    files = {"file.param": parameter_file("Graph", n_layers).encode(), "model.pt": scripted(module)}
    return PortableModel(name, files)


def edges(name: str, module: nn.Module, tables: str = "", driver: str = DRIVER, n_layers: int = 1) -> PortableModel:
    """Return a portable model of the kind edges, which describes itself in model.toml (format 2).

    Args:
        name: Its KIM id.
        module: A network in double precision.
        tables: Text of tables after [model].
        driver: KIM id of its driver.
        n_layers: Its number of message-passing layers.
    """
    program = scripted(module)
    keys = {
        "file": "model.pt",
        "sha256": hashlib.sha256(program).hexdigest(),
        "kind": "edges",
        "dtype": "float64",
        "species": list(ELEMENTS),
        "species_as": "codes",
        "cutoff": CUTOFF,
        "layers": n_layers,
        "energy": "per particle",
        "returns_forces": False,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    text = "\n".join(["format = 2", "[model]", *lines, tables]) + "\n"
    return PortableModel(name, {"model.toml": text.encode(), "model.pt": program}, driver)


# KIM ids of the models that have no mistake.
RAW = "Tiny_Raw"
RAW_ALL = "Tiny_RawAll"
RAW_TOTAL = "Tiny_RawTotal"
RAW_FORCES = "Tiny_RawForces"
RAW_FLOAT32 = "Tiny_RawFloat32"
RAW_PRINTS = "Tiny_RawPrints"
RAW_WARNS = "Tiny_RawWarns"
RAW_COUNTS = "Tiny_RawCounts"
RAW_SLOW = "Tiny_RawSlow"
GRAPH_1 = "Tiny_Graph1"
GRAPH_2 = "Tiny_Graph2"
GRAPH_3 = "Tiny_Graph3"
GRAPH_COUNTS = "Tiny_GraphCounts"
GRAPH_TOTAL = "Tiny_GraphTotal"
DESCRIPTOR = "Tiny_Descriptor"
EDGES_1 = "Tiny_Edges1"
EDGES_3 = "Tiny_Edges3"
EDGES = "Tiny_Edges"
EXCHANGED = "Tiny_Exchanged"


def sound_models() -> list[PortableModel]:
    """Return one portable model for each of the names above."""
    return [
        raw(RAW, RawModel()),
        raw(RAW_ALL, RawModel("all")),
        raw(RAW_TOTAL, RawModel("total")),
        raw(RAW_FORCES, RawModelWithForces(), returns_forces=True),
        raw(RAW_FLOAT32, RawModel(dtype=torch.float32)),
        raw(RAW_PRINTS, RawModelThatPrints()),
        raw(RAW_WARNS, RawModelThatWarns()),
        raw(RAW_COUNTS, RawCounts()),
        raw(RAW_SLOW, RawSlow()),
        graph(GRAPH_1, GraphModel1(), 1),
        graph(GRAPH_2, GraphModel2(), 2),
        graph(GRAPH_3, GraphModel3(), 3),
        graph(GRAPH_COUNTS, GraphCounts(), 1),
        graph(GRAPH_TOTAL, GraphTotal(), 2),
        descriptor(DESCRIPTOR, DescriptorModel()),
        edges(EDGES_1, EdgeLayers(1)),
        edges(EDGES_3, EdgeLayers(3), n_layers=3),
        edges(EDGES, EdgesModel()),
        edges(EXCHANGED, ExchangedLayers(), n_layers=3),
    ]
