# SPDX-License-Identifier: LGPL-2.1-or-later
"""Let KLIFF export two small networks for tests, one of which it has trained: run it where kliff is installed.

python make_kliff.py FOLDER
"""

import os
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from family_kliff import (
    CUTOFF,
    DESCRIPTOR,
    DESCRIPTOR_FOLDER,
    GRAPH,
    GRAPH_ARGUMENTS,
    GRAPH_FOLDER,
    carbide,
)
from kliff_stand_ins import provide_what_is_missing

_SEED = 20
_TRAINING, _VALIDATION = 3, 1
# Forces of the size that trained networks have.
_LARGER = 30.0


class GraphNetwork(torch.nn.Module):
    """A network of two layers that KLIFF calls with its own graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 8)  # a row for each atomic number
        self.first = torch.nn.Linear(8, 8)
        self.second = torch.nn.Linear(8, 8)
        self.energy = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))
        self.cutoff = CUTOFF
        self.register_buffer("centres", torch.linspace(1.0, CUTOFF, 8))
        _enlarge(self.energy)

    def _summed(
        self, features: torch.Tensor, weights: torch.Tensor, coords: torch.Tensor, edges: torch.Tensor
    ) -> torch.Tensor:
        centre, neighbour = edges[0], edges[1]
        r = (coords[neighbour] - coords[centre]).square().sum(dim=1).sqrt()
        smooth = (1.0 - (r / self.cutoff).square()).pow(3)[:, None]
        basis = torch.exp(-4.0 * (r[:, None] - self.centres).square()) @ weights
        messages = basis * features[neighbour] * smooth
        return torch.zeros_like(features).index_add(0, centre, messages)

    def forward(
        self,
        z: torch.Tensor,
        coords: torch.Tensor,
        edge_index0: torch.Tensor,
        edge_index1: torch.Tensor,
        contributions: torch.Tensor,
    ) -> torch.Tensor:
        """Return the energy of each configuration of a batch, eV."""
        features = self.embedding(z)
        # The outermost edges come first.
        features = features + torch.tanh(self._summed(features, self.first.weight, coords, edge_index1))
        summed = self._summed(features, self.second.weight, coords, edge_index0)
        energies = self.energy(torch.cat([features, summed], dim=1))[:, 0]
        # 2 b for the contributing atoms of configuration b of a batch, 2 b + 1 for its images.
        n = 2 * (torch.max(contributions) // 2 + 1)
        return torch.zeros(n, dtype=energies.dtype, device=energies.device).index_add(0, contributions, energies)[::2]


def _enlarge(layers: torch.nn.Sequential) -> None:
    with torch.no_grad():
        layers[-1].weight *= _LARGER


def _manifest(name: str, transform: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    return {
        "workspace": {"name": f"run_{name}", "seed": _SEED},
        "dataset": {"type": "ase", "path": "training.xyz", "keys": {"energy": "Energy", "forces": "force"}},
        "model": {"name": name, **model},
        "transforms": {"configuration": transform},
        "training": {
            "loss": {"function": "MSE", "weights": {"config": 1.0, "energy": 1.0, "forces": 1.0}},
            "optimizer": {"name": "Adam", "learning_rate": 1e-3},
            "training_dataset": {"train_size": _TRAINING},
            "validation_dataset": {"val_size": _VALIDATION},
            "batch_size": 1,
            "epochs": 2,
            "ckpt_interval": 1,
            "strategy": "auto",
            "accelerator": "cpu",
        },
        "export": {"model_path": ".", "model_name": name},
    }


def _write_training_set() -> None:
    """Write configurations of whose energies and forces nothing but their size matters."""
    random = np.random.default_rng(_SEED)
    configurations = []
    for seed in range(_TRAINING + _VALIDATION):
        atoms = carbide(seed, cells=1)
        atoms.info["Energy"], atoms.arrays["force"] = random.normal(), random.normal(size=(len(atoms), 3))
        configurations.append(atoms)
    ase.io.write("training.xyz", configurations)


def _export_network_of_descriptors() -> None:
    from kliff.trainer.torch_trainer import DNNTrainer
    from kliff.transforms.configuration_transforms import Descriptor

    width = Descriptor(**DESCRIPTOR).width
    network = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    _enlarge(network)
    torch.jit.script(network).save("network.pt")
    transform = {"name": "Descriptor", "kwargs": DESCRIPTOR}
    trainer = DNNTrainer(_manifest(DESCRIPTOR_FOLDER, transform, {"path": str(Path("network.pt").absolute())}))
    # Training needs libdescriptor, which is not everywhere: what is exported is the best checkpoint.
    trainer.current["loss"] = {"train": 1.0, "val": 1.0}
    trainer.checkpoint()
    trainer.save_kim_model()


def _export_network_of_graphs() -> None:
    from kliff.trainer.lightning_trainer import GNNLightningTrainer

    manifest = _manifest(GRAPH_FOLDER, {"name": "RadialGraph", "kwargs": GRAPH}, {"input_args": list(GRAPH_ARGUMENTS)})
    trainer = GNNLightningTrainer(manifest, model=GraphNetwork())
    trainer.train()
    trainer.save_kim_model()


def main() -> None:
    """Let KLIFF export both networks."""
    os.chdir(sys.argv[1])
    provide_what_is_missing()
    torch.set_default_dtype(torch.float64)
    _write_training_set()
    torch.manual_seed(_SEED)
    _export_network_of_descriptors()
    _export_network_of_graphs()


if __name__ == "__main__":
    main()
