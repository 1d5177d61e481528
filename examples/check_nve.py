# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run NVE molecular dynamics of crystalline silicon with a trained example, without KIM, and print the drift.

Usage: python examples/check_nve.py FOLDER [--temperatures K ...] [--steps N]
"""

import argparse
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from configurations import LATTICE_CONSTANT, thermalise
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.spatial import KDTree
from torch import Tensor

from kim_torchml.descriptors import Neighbourhoods, read_descriptor
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import ModelFolder, read_model_folder

TIME_STEP = 1.0  # fs

# A model as a function. It takes the coordinates of all particles (first the atoms, then their images), shape [n, 3],
# Å, the number of atoms, and all edges in both directions, shape [2, edges]. It returns the energy of the atoms, eV.
Energy = Callable[[Tensor, int, Tensor], Tensor]


class ScriptCalculator(Calculator):
    """ASE calculator of a scripted network.

    Images of the atoms are explicit particles, so that nothing here depends on the driver's
    neighbour lists and staged edges.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, energy: Energy, cutoff: float, reach: float) -> None:
        """Keep the model.

        Args:
            energy: The model as a function; see `Energy`.
            cutoff: Largest length of an edge, Å.
            reach: Thickness of the layer of images around the cell, Å.
        """
        super().__init__()
        self.energy, self.cutoff, self.reach = energy, cutoff, reach

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy (eV) and forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        positions, atom = with_images(self.atoms, self.reach)
        pairs = KDTree(positions).query_pairs(self.cutoff, output_type="ndarray").T
        edges = torch.tensor(np.concatenate([pairs, pairs[::-1]], axis=1))
        coordinates = torch.tensor(positions, requires_grad=True)
        energy = self.energy(coordinates, len(self.atoms), edges)
        (gradient,) = torch.autograd.grad(energy, coordinates)
        forces = np.zeros((len(self.atoms), 3))
        np.subtract.at(forces, atom, gradient.numpy())
        self.results = {"energy": float(energy.detach()), "forces": forces}


def make_calculator(folder: Path) -> ScriptCalculator:
    """Return the calculator of a model of the kind Graph or Descriptor.

    Args:
        folder: The model's folder.
    Raises:
        ValueError: If the model is of another kind.
    """
    files = read_model_folder(folder, [path.name for path in folder.iterdir()], FILE_FORMATS)
    model = files.description
    kinds = {"Graph": graph_energy, "Descriptor": descriptor_energy}
    if model.kind not in kinds:
        raise ValueError(f"`kind` must be one of {', '.join(kinds)}, got {model.kind} ({folder})")
    energy = kinds[model.kind](files)
    return ScriptCalculator(energy, model.cutoff, model.n_layers * model.cutoff)


def graph_energy(files: ModelFolder) -> Energy:
    """Return the energy of a Graph model; every layer gets all edges."""
    model = torch.jit.load(io.BytesIO(files.program))

    def energy(coordinates: Tensor, n_atoms: int, edges: Tensor) -> Tensor:
        mask = (torch.arange(len(coordinates)) >= n_atoms).to(torch.int64)
        return model(torch.zeros_like(mask), coordinates, *[edges] * files.description.n_layers, mask).sum()

    return energy


def descriptor_energy(files: ModelFolder) -> Energy:
    """Return the energy of a Descriptor model."""
    model = torch.jit.load(io.BytesIO(files.program))
    description, file = files.description, files.descriptor
    descriptor, normalisation = read_descriptor(
        file.text, file.name, description.descriptor, description.species, description.cutoff
    )

    def energy(coordinates: Tensor, n_atoms: int, edges: Tensor) -> Tensor:
        first, second = edges[:, torch.argsort(edges[0])]
        contributing = first < n_atoms
        values = descriptor(
            Neighbourhoods(
                coordinates=coordinates,
                species_codes=torch.zeros(len(coordinates), dtype=torch.int64),
                centres=torch.arange(n_atoms),
                counts=torch.bincount(first[contributing], minlength=n_atoms),
                neighbours=second[contributing],
            )
        )
        return model(values if normalisation is None else normalisation(values)).sum()

    return energy


def with_images(atoms: Atoms, width: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the atoms of a rectangular periodic cell, then their images around it.

    Args:
        atoms: The structure, in a cell whose edges are along x, y, z.
        width: Thickness of the layer of images around the cell, Å.
    Returns:
        Coordinates of the particles, shape [n, 3], Å; for each particle the index of the atom that it is, or is an
        image of, shape [n].
    """
    lengths = atoms.cell.lengths()
    wrapped = atoms.get_positions(wrap=True)
    coordinates, origin = [wrapped], [np.arange(len(atoms))]
    for shift in itertools.product((-1, 0, 1), repeat=3):
        if any(shift):
            images = wrapped + lengths * shift
            near = np.flatnonzero(np.all((images > -width) & (images < lengths + width), axis=1))
            coordinates.append(images[near])
            origin.append(near)
    return np.concatenate(coordinates), np.concatenate(origin)


def main() -> None:
    """Print how far the total energy strays at each temperature."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path, help="the model's folder, such as examples/graph or examples/descriptor")
    add("--temperatures", type=float, nargs="+", default=[300.0, 1000.0], help="in K")
    add("--steps", type=int, default=500, help=f"steps of {TIME_STEP} fs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    calculator = make_calculator(options.folder)
    for temperature in options.temperatures:
        total, reached = run(calculator, temperature, options.steps, console)
        times = 1e-3 * TIME_STEP * np.arange(len(total))
        # The total energy of velocity Verlet swings during the first periods of vibration. The drift is the slope of
        # a line through the rest.
        settled = len(total) // 5
        drift = np.polyfit(times[settled:], total[settled:], 1)[0]
        console.print(
            f"{temperature:g} K: drift {1e3 * drift:+.4f} meV/atom/ps, standard deviation "
            f"{1e3 * total[settled:].std():.4f} meV/atom, last temperature {reached:.0f} K"
        )


def run(
    calculator: Calculator, temperature: float, n_steps: int, console: Console
) -> tuple[NDArray[np.float64], float]:
    """Run NVE dynamics of 512 atoms.

    The atoms start on perfect sites with twice the kinetic energy of the temperature. About half of it soon becomes
    potential energy.

    Args:
        calculator: The model.
        temperature: Temperature that the atoms come to, K.
        n_steps: Number of steps.
        console: Console that shows the progress.
    Returns:
        Total energy per atom before every step and after the last, eV; the last temperature, K.
    """
    atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True) * (4, 4, 4)
    atoms.calc = calculator
    thermalise(atoms, 2.0 * temperature, np.random.default_rng(0))
    Stationary(atoms)
    dynamics = VelocityVerlet(atoms, TIME_STEP * units.fs)
    total = [atoms.get_total_energy()]
    for _ in track(range(n_steps), description=f"{temperature:g} K", console=console):
        dynamics.run(1)
        total.append(atoms.get_total_energy())
    return np.array(total) / len(atoms), atoms.get_temperature()


if __name__ == "__main__":
    main()
