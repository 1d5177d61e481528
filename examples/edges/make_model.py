# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make the example model `TorchML_Edges_Si` of the network that examples/graph has trained, and compare the two.

Usage: python examples/edges/make_model.py [--output FOLDER]

The same weights, and the same version of torch, give the same model file bit by bit.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from network import N_LAYERS, SiliconNetwork
from rich.console import Console
from torch.jit import ScriptModule

import kim_torchml

HERE = Path(__file__).resolve().parent
GRAPH_FILE = HERE.parent / "graph" / "graph.pt"
CUTOFF = 3.8  # Å, as examples/graph/graph.param has it
TOLERANCE = 1e-12  # relative

ABOUT = {
    "title": "Message-passing network for Si, trained on the Stillinger-Weber potential, from edge vectors",
    "authors": ["kim-torchml"],
    "licence": "LGPL-2.1-or-later",
    "description": "The network of TorchML_Graph_Si, called with the vectors of edges. It exchanges features between "
    "MPI ranks: its network.py calls torch.ops.kim_torchml.exchange before the second convolution",
    "trained_on": "energies and forces of SW_StillingerWeber_1985_Si__MO_405512056662_005",
}


def main() -> None:
    """Write the model's folder, then print how the network compares with the model that it was made of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the files it writes")
    folder = parser.parse_args().output
    torch.set_num_threads(1)

    console = Console()
    graph = torch.jit.load(GRAPH_FILE)
    network = trained_network(graph)
    report = kim_torchml.save_model(
        network, folder, name="TorchML_Edges_Si", kind="edges", species=["Si"], cutoff=CUTOFF, layers=N_LAYERS,
        parameters={"initial": "features of every particle before the first convolution"}, about=ABOUT, replace=True,
    )  # fmt: skip
    print(report)
    difference = compare(graph, network)
    console.print(f"largest relative difference from {GRAPH_FILE.name}, energies and forces: {difference:.1e}")
    # Written so that a NaN, which compares false with anything, is a failure.
    if not difference <= TOLERANCE:
        sys.exit(f"the network differs from {GRAPH_FILE} by more than the tolerance")


def trained_network(graph: ScriptModule) -> SiliconNetwork:
    """Return the network with the weights of the graph example, which have the same names."""
    network = SiliconNetwork(CUTOFF).to(torch.float64)
    network.load_state_dict(graph.state_dict())
    return network


def compare(graph: ScriptModule, edges: SiliconNetwork) -> float:
    """Return the largest difference of energies and forces on a disordered cluster, relative to the largest of each."""
    atoms: Atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)
    atoms.rattle(0.2, seed=1)
    atoms.pbc = False
    edge_index = torch.tensor(np.array(neighbor_list("ij", atoms, CUTOFF)))
    species = torch.zeros(len(atoms), dtype=torch.int64)

    def of_graph(coordinates: torch.Tensor) -> torch.Tensor:
        return graph(species, coordinates, *[edge_index] * N_LAYERS, torch.zeros_like(species))

    def of_edges(coordinates: torch.Tensor) -> torch.Tensor:
        return edges(species, edge_index, coordinates[edge_index[1]] - coordinates[edge_index[0]])

    def energies_and_forces(model: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        coordinates = torch.tensor(atoms.positions, requires_grad=True)
        energies = model(coordinates)
        (gradient,) = torch.autograd.grad(energies.sum(), coordinates)
        return energies.detach(), -gradient

    pairs = zip(energies_and_forces(of_edges), energies_and_forces(of_graph), strict=True)
    return max(float((found - expected).abs().max() / expected.abs().max()) for found, expected in pairs)


if __name__ == "__main__":
    main()
