# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make the example model `TorchML_Edges_Si` of the network that examples/graph has trained, and compare the two.

Usage: python examples/edges/make_model.py [--output FOLDER]

The same weights give the same model, and with PYTHONHASHSEED=0 the same file bit by bit.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from rich.console import Console
from torch.jit import ScriptModule

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from network import N_LAYERS, SiliconNetwork
from reference import save_script

from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.model_toml import FORMAT, MODEL_TOML
from kim_torchml.model_files.model_toml_text import model_toml_text

HERE = Path(__file__).resolve().parent
GRAPH_FILE = HERE.parent / "graph" / "graph.pt"
MODEL_FILE = "edges.pt"
CUTOFF = 3.8  # Å, as examples/graph/graph.param has it
TOLERANCE = 1e-12  # relative

ABOUT = {
    "title": "Message-passing network for Si, trained on the Stillinger-Weber potential, from edge vectors",
    "authors": ["kim-torchml"],
    "licence": "LGPL-2.1-or-later",
    "description": "The network of TorchML_Graph_Si, called with the vectors of edges",
    "trained_on": "energies and forces of SW_StillingerWeber_1985_Si__MO_405512056662_005",
}


def main() -> None:
    """Write the model and its model.toml, then print how it compares with the model that it was made of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the files it writes")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    console = Console()
    graph = torch.jit.load(GRAPH_FILE)
    save(trained_network(graph), folder)
    console.print(f"wrote {folder / MODEL_FILE} and {folder / MODEL_TOML}")
    difference = compare(graph, torch.jit.load(folder / MODEL_FILE))
    console.print(f"largest relative difference from {GRAPH_FILE.name}, energies and forces: {difference:.1e}")
    # Written so that a NaN, which compares false with anything, is a failure.
    if not difference <= TOLERANCE:
        sys.exit(f"{MODEL_FILE} differs from {GRAPH_FILE} by more than the tolerance")


def trained_network(graph: ScriptModule) -> SiliconNetwork:
    """Return the network with the weights of the graph example, which have the same names."""
    network = SiliconNetwork(CUTOFF).to(torch.float64)
    network.load_state_dict(graph.state_dict())
    return network


def save(network: SiliconNetwork, folder: Path) -> None:
    """Write the scripted network and its model.toml.

    Args:
        network: The trained network.
        folder: Existing folder for the two files.
    """
    save_script(network, folder / MODEL_FILE)
    description = ModelDescription(
        file_name=MODEL_TOML,
        format=FORMAT,
        model_file=MODEL_FILE,
        kind="Edges",
        species=("Si",),
        atomic_numbers=False,
        cutoff=CUTOFF,
        n_layers=N_LAYERS,
        has_layers=True,
        returns_forces=False,
        inputs_stated="",
        returns_stated="",
        coding_advice="",
        dtype="float64",
        energy_per_particle=True,
        parameters={"initial": "features of every particle before the first convolution"},
        sha256=hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest(),
        about=ABOUT,
        made_with={"torch": torch.__version__.partition("+")[0]},
    )
    (folder / MODEL_TOML).write_text(model_toml_text(description), encoding="utf-8")


def compare(graph: ScriptModule, edges: ScriptModule) -> float:
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
