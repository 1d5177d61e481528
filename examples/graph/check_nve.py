# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run NVE molecular dynamics of crystalline silicon with `graph.pt`, without KIM, and print the drift.

Usage: python examples/graph/check_nve.py [--model FILE] [--temperatures K ...] [--steps N]
"""

import argparse
import itertools
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from configurations import thermalise
from make_model import CUTOFF, HERE, MODEL_FILE
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.spatial import KDTree

TIME_STEP = 1.0  # fs
N_LAYERS = 2


class GraphCalculator(Calculator):
    """ASE calculator of the scripted network.

    Images of the atoms are explicit particles and every layer gets all edges, so that nothing here
    depends on the staged edges of the driver.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, model: torch.jit.ScriptModule) -> None:
        """Keep the model."""
        super().__init__()
        self.model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy (eV) and forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        positions, atom = with_images(self.atoms, N_LAYERS * CUTOFF)
        pairs = KDTree(positions).query_pairs(CUTOFF, output_type="ndarray").T
        edges = torch.tensor(np.concatenate([pairs, pairs[::-1]], axis=1))
        coordinates = torch.tensor(positions, requires_grad=True)
        mask = (torch.arange(len(atom)) >= len(self.atoms)).to(torch.int64)
        energy = self.model(torch.zeros_like(mask), coordinates, edges, edges, mask).sum()
        (gradient,) = torch.autograd.grad(energy, coordinates)
        forces = np.zeros((len(self.atoms), 3))
        np.subtract.at(forces, atom, gradient.numpy())
        self.results = {"energy": float(energy.detach()), "forces": forces}


def with_images(atoms: Atoms, width: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the atoms of a rectangular periodic cell, then their images around it.

    Args:
        atoms: The structure, in a cell whose edges are along x, y, z.
        width: How far around the cell, Å.
    Returns:
        Coordinates, shape [n, 3], Å; the atom that each is or is an image of, shape [n].
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
    add("--model", type=Path, default=HERE / MODEL_FILE, help="the scripted network")
    add("--temperatures", type=float, nargs="+", default=[300.0, 1000.0], help="in K")
    add("--steps", type=int, default=500, help=f"steps of {TIME_STEP} fs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    model = torch.jit.load(options.model)
    for temperature in options.temperatures:
        total, reached = run(model, temperature, options.steps, console)
        times = 1e-3 * TIME_STEP * np.arange(len(total))
        # The energy of velocity Verlet swings during the first periods of vibration; a line through
        # the rest is the drift.
        settled = len(total) // 5
        drift = np.polyfit(times[settled:], total[settled:], 1)[0]
        console.print(
            f"{temperature:g} K: drift {1e3 * drift:+.4f} meV/atom/ps, standard deviation "
            f"{1e3 * total[settled:].std():.4f} meV/atom, last temperature {reached:.0f} K"
        )


def run(
    model: torch.jit.ScriptModule, temperature: float, n_steps: int, console: Console
) -> tuple[NDArray[np.float64], float]:
    """Run NVE dynamics of 512 atoms, from perfect sites and twice the kinetic energy.

    Args:
        model: The scripted network.
        temperature: What equipartition makes of the start, K.
        n_steps: Number of steps.
        console: Where progress goes.
    Returns:
        Total energy per atom before every step and after the last, eV; the last temperature, K.
    """
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 4, 4)
    atoms.calc = GraphCalculator(model)
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
