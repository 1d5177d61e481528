# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of KLIFF: two small networks for SiC, which its trainers export where the tests run.

Their energies and forces are what KLIFF's own descriptors, graphs and trainers give, which read nothing of the exported
folder but the network itself. KLIFF gives no stress: it is a difference of its energies.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from converted import Converted, Limits, TriedFamily, Wanted
from kliff_stand_ins import provide_what_is_missing

SPECIES = ("Si", "C")
# Å
CUTOFF = 3.5
N_LAYERS = 2
# What KLIFF calls the tensors that the graph network takes.
GRAPH_ARGUMENTS = ("z", "coords", "edge_index0", "edge_index1", "contributions")
DESCRIPTOR = {"cutoff": CUTOFF, "species": list(SPECIES), "descriptor": "SymmetryFunctions", "hyperparameters": "set30"}
GRAPH = {"cutoff": CUTOFF, "species": list(SPECIES), "n_layers": N_LAYERS}
# Names of the folders that make_kliff.py lets KLIFF write.
DESCRIPTOR_FOLDER, GRAPH_FOLDER = "Descriptor_SiC", "Graph_SiC"

_A = 4.36
# Differences of energies lose digits.
_LIMITS = Limits(1e-10, 1e-10, 1e-7)


class KliffCalculator(Calculator):
    """Computes with an exported network as KLIFF's trainers do."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, folder: Path) -> None:
        super().__init__()
        provide_what_is_missing()
        import torch

        self._network = torch.jit.load(folder / "model.pt").eval()
        is_graph = folder.name == GRAPH_FOLDER
        self._results: Callable[[Any], tuple[float, np.ndarray]] = self._of_graph if is_graph else self._of_descriptor
        self._transform = _graph_transform() if is_graph else _descriptor_transform()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Compute energy and forces; the stress where it is asked for."""
        stress = {}
        if "stress" in properties:
            strained = atoms.copy()
            strained.calc = self
            stress = {"stress": self.calculate_numerical_stress(strained)}
        super().calculate(atoms, properties, system_changes)
        energy, forces = self._results(_configuration(atoms))
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, **stress}

    def _of_descriptor(self, configuration: Any) -> tuple[float, np.ndarray]:
        import torch

        found = self._transform.forward(configuration)
        descriptors = torch.tensor(found, dtype=torch.float64, device="cpu", requires_grad=True)
        energy = self._network(descriptors).sum()
        (gradient,) = torch.autograd.grad(energy, descriptors)
        return float(energy.detach()), -self._transform.backward(configuration, gradient.numpy())

    def _of_graph(self, configuration: Any) -> tuple[float, np.ndarray]:
        from kliff.trainer.lightning_trainer import LightningTrainer

        trainer = LightningTrainer(self._network, list(GRAPH_ARGUMENTS), ema=False)
        energy, forces = trainer.forward(self._transform(configuration))
        return float(energy.detach()), forces.detach().numpy()


def _configuration(atoms: Atoms) -> Any:
    from kliff.dataset import Configuration

    # Graphs hold energy and forces too, for training.
    known = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
    periodic = atoms.pbc.astype(np.intc)
    return Configuration(atoms.cell.array, atoms.get_chemical_symbols(), atoms.positions, periodic, **known)


def _descriptor_transform() -> Any:
    from kliff.transforms.configuration_transforms import Descriptor

    return Descriptor(**DESCRIPTOR)


def _graph_transform() -> Any:
    from kliff.transforms.configuration_transforms.graphs import RadialGraph

    return RadialGraph(**GRAPH)


def _calculator(wanted: Wanted) -> Calculator:
    return KliffCalculator(Path(wanted.source))


def carbide(seed: int = 1, cells: int = 2) -> Atoms:
    """Return a rattled crystal of silicon carbide, some cells long."""
    atoms = bulk("SiC", "zincblende", a=_A, cubic=True) * (cells, 1, 1)
    atoms.rattle(0.1, seed=seed)
    return atoms


def _in_vacuum(atoms: Atoms) -> Atoms:
    atoms.center(vacuum=8.0)
    atoms.pbc = False
    return atoms


def _primitive() -> Atoms:
    atoms = bulk("SiC", "zincblende", a=_A)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    return atoms


def _slab() -> Atoms:
    atoms = carbide()
    atoms.positions[:, 2] -= atoms.positions[:, 2].min() - 1.0
    atoms.cell[2, 2] += 10.0
    atoms.pbc = (True, True, False)
    return atoms


def _tilted() -> Atoms:
    atoms = carbide()
    shear = np.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.1, -0.15, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def _silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(0.1, seed=4)
    return atoms


_STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "carbide16": carbide,
    "silicon8": _silicon,
    "dimer": lambda: _in_vacuum(Atoms("SiC", positions=[[0, 0, 0], [1.1, 1.0, 1.2]])),
    "primitive": _primitive,
    "slab": _slab,
    "tilted": _tilted,
    "cluster": lambda: _in_vacuum(carbide()),
}


def _model(name: str, source: str, **more: Any) -> Converted:
    # Neither kind is folded.
    return Converted(
        name, "kliff", source, _LIMITS, dtype="float64", is_quick=True, file_format="pt", is_local=True, **more
    )


TRIED = TriedFamily(
    package="kliff",
    models=(
        _model("Kliff_Descriptor", DESCRIPTOR_FOLDER),
        _model("Kliff_Graph", GRAPH_FOLDER, gives_total_alone=True),
    ),
    structures=_STRUCTURES,
    species=SPECIES,
    calculator=_calculator,
    maker="make_kliff.py",
)
