# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make the example model `TorchML_StillingerWeber_Si` and compare it with KIM's own.

Usage: python examples/stillinger_weber/make_model.py [--output FOLDER]
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from replicas import replicas
from rich.console import Console
from rich.table import Table
from stillinger_weber import StillingerWeber
from torch.jit import ScriptModule

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reference import (
    reference_calculator,
    reference_model_id,
    reference_parameters,
    save_script,
)

MODEL_FILE = "stillinger_weber.pt"
PARAMETER_FILE = "stillinger_weber.param"
FORCE_TOLERANCE = 1e-9  # eV/Å
ENERGY_TOLERANCE = 1e-9  # relative

PARAMETER_FILE_TEXT = """\
# Number of elements, then their symbols
1
Si

# Preprocessing
None

# Cutoff in Angstrom
{cutoff!r}

# Model file
{model_file}

# Does the model return forces
false

# Number of inputs: species, coordinates, n_neighbours, neighbours, contributing
5

# Descriptor
None
"""


def main() -> None:
    """Write the model and its parameter file, then print how they compare with KIM's model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parent
    parser.add_argument("--output", type=Path, default=here, help="folder of the files it writes")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    console = Console()
    parameters = reference_parameters()
    write_model(parameters, folder)
    console.print(f"wrote {folder / MODEL_FILE} and {folder / PARAMETER_FILE}")
    model = torch.jit.load(folder / MODEL_FILE)
    if not compare(model, parameters["cutoff"], console):
        sys.exit(f"{MODEL_FILE} differs from {reference_model_id()} by more than the tolerance")


def write_model(parameters: dict[str, float], folder: Path) -> None:
    """Write the scripted model and its parameter file.

    Args:
        parameters: Values of the constants by their names in KIM's model, in Å and eV.
        folder: Existing folder for the two files.
    """
    save_script(StillingerWeber(parameters), folder / MODEL_FILE)
    text = PARAMETER_FILE_TEXT.format(cutoff=parameters["cutoff"], model_file=MODEL_FILE)
    (folder / PARAMETER_FILE).write_text(text, encoding="utf-8")


def compare(model: ScriptModule, cutoff: float, console: Console) -> bool:
    """Print differences from the reference model and say whether all are within tolerance.

    Args:
        model: The scripted model.
        cutoff: Cutoff of the model, Å.
        console: Console that shows the table.
    Returns:
        True if every structure agrees.
    """
    table = Table(title=f"{MODEL_FILE} compared with {reference_model_id()}")
    table.add_column("structure")
    for column in ("atoms", "energy (eV)", "relative difference", "force difference (eV/Å)"):
        table.add_column(column, justify="right")
    agree = True
    calculator = reference_calculator()
    for name, atoms in structures(cutoff):
        expected_energy, expected_forces = reference_result(atoms, calculator)
        energy, forces = compute(model, atoms, cutoff)
        relative = abs(energy - expected_energy) / max(abs(expected_energy), 1.0)
        difference = float(np.abs(forces - expected_forces).max())
        # Written so that a NaN, which compares false with anything, is a failure.
        agree &= relative <= ENERGY_TOLERANCE and difference <= FORCE_TOLERANCE
        cells = (str(len(atoms)), f"{energy:.6f}", f"{relative:.1e}", f"{difference:.1e}")
        table.add_row(name, *cells)
    console.print(table)
    return agree


def reference_result(atoms: Atoms, calculator: Calculator) -> tuple[float, np.ndarray]:
    """Return energy (eV) and forces (eV/Å, shape [atoms, 3]) of the reference model."""
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_potential_energy(), copy.get_forces()


def compute(model: ScriptModule, atoms: Atoms, cutoff: float) -> tuple[float, np.ndarray]:
    """Return energy and forces of the scripted model, called as the driver calls it.

    Args:
        model: The scripted model.
        atoms: The structure, periodic or not.
        cutoff: Cutoff of the model, Å.
    Returns:
        Energy in eV; forces in eV/Å, shape [atoms, 3], those on images added to their atoms.
    """
    particles = replicas(atoms, cutoff)
    n = len(particles.atom)
    coordinates = torch.tensor(particles.coordinates, requires_grad=True)
    energies = model(
        torch.zeros(n, dtype=torch.int64),
        coordinates,
        torch.tensor(particles.n_neighbours),
        torch.tensor(particles.neighbours),
        (torch.arange(n) < len(atoms)).to(torch.int64),
    )
    (gradient,) = torch.autograd.grad(energies.sum(), coordinates)
    forces = np.zeros((len(atoms), 3))
    np.subtract.at(forces, particles.atom, gradient.numpy())
    return float(energies.detach().sum()), forces


def structures(cutoff: float) -> Iterator[tuple[str, Atoms]]:
    """Yield named structures: crystals, clusters, and dimers around the cutoff.

    Args:
        cutoff: Cutoff of the model, Å.
    Yields:
        Name and structure.
    """
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)
    yield "perfect crystal", crystal
    for amplitude in (0.05, 0.2, 0.4):
        rattled = crystal.copy()
        rattled.rattle(amplitude, seed=1)
        yield f"crystal rattled by {amplitude} Å", rattled
    dense = bulk("Si", "fcc", a=3.9, cubic=True) * (2, 2, 2)
    dense.rattle(0.1, seed=2)
    yield "rattled fcc crystal", dense
    cluster = crystal.copy()
    cluster.rattle(0.3, seed=3)
    cluster.pbc = False
    yield "cluster", cluster
    trimer = molecule("H2O")
    trimer.symbols = "Si3"
    trimer.positions *= 2.4
    yield "trimer", trimer
    below = float(np.nextafter(cutoff, 0.0))
    dimers = {"": 2.4, " just below the cutoff": below, " at the cutoff": cutoff, " beyond": 4.0}
    for where, distance in dimers.items():
        yield f"dimer{where}", Atoms("Si2", positions=[[0, 0, 0], [distance, 0, 0]])
    yield "single atom", Atoms("Si", positions=[[0, 0, 0]])


if __name__ == "__main__":
    main()
