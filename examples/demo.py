# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run each example model in LAMMPS and in ASE, compare them, and show the result as a table and a picture."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.kim import KIM
from lammps_md import Trajectory, run_md
from parity import compare_with_reference
from picture import draw
from reference import reference_model_id
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

MODELS = ("TorchML_StillingerWeber_Si", "TorchML_Descriptor_Si", "TorchML_Graph_Si")
LATTICE_CONSTANT = 5.431  # Å
TEMPERATURE = 600.0  # K, of the initial velocities; about half of it becomes potential energy


@dataclass(frozen=True)
class Comparison:
    """Results of one model in both simulators; energies are in eV, forces in eV/Å."""

    model: str
    trajectory: Trajectory
    ase_energy: float
    reference_energy: float
    force_difference: float
    reference_force_difference: float


def silicon(cells: int) -> Atoms:
    """Return rattled diamond silicon of cells x cells x cells cubic cells, 8 atoms each."""
    atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True).repeat(cells)
    atoms.rattle(0.05, seed=2026)
    return atoms


def energy_and_forces(model: str, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Return the energy (eV) and forces (eV/Å) that ASE's KIM calculator gives."""
    copy = atoms.copy()
    copy.calc = KIM(model)
    return copy.get_potential_energy(), copy.get_forces()


def compare(model: str, atoms: Atoms, steps: int, folder: Path, progress: Progress) -> Comparison:
    """Run one model in LAMMPS and in ASE."""
    progress.console.print(f"{model}: {steps} steps in LAMMPS, then one configuration in ASE")
    task = progress.add_task(f"LAMMPS, {_short(model)}", total=steps)
    trajectory = run_md(
        model, atoms, TEMPERATURE, steps, folder / model, lambda step: progress.update(task, completed=step)
    )
    energy, forces = energy_and_forces(model, atoms)
    reference_energy, reference_forces = energy_and_forces(reference_model_id(), atoms)
    return Comparison(
        model,
        trajectory,
        energy,
        reference_energy,
        float(np.abs(trajectory.forces - forces).max()),
        float(np.abs(forces - reference_forces).max()),
    )


def _short(model: str) -> str:
    """Return a model's name without what all names share, so that the table fits a terminal of 80 columns."""
    return model.removeprefix("TorchML_").removesuffix("_Si")


def result_table(comparisons: list[Comparison], atoms: Atoms, steps: int) -> Table:
    """Return the table that is printed, a column for each model."""
    table = Table(title=f"{len(atoms)} silicon atoms, {steps} steps of NVE molecular dynamics in LAMMPS, 1 fs each")
    table.caption = "energies and forces are those of the run's last configuration"
    table.add_column("")
    for row in comparisons:
        table.add_column(_short(row.model), justify="right")
    rows: dict[str, Callable[[Comparison], str]] = {
        "energy in LAMMPS (eV)": lambda row: f"{row.trajectory.potential_energy:.8f}",
        "energy in ASE (eV)": lambda row: f"{row.ase_energy:.8f}",
        "energy of the reference (eV)": lambda row: f"{row.reference_energy:.8f}",
        "largest force difference LAMMPS - ASE (eV/Å)": lambda row: f"{row.force_difference:.1e}",
        "largest force difference ASE - reference (eV/Å)": lambda row: f"{row.reference_force_difference:.1e}",
        "energy drift (meV/atom/ps)": lambda row: f"{row.trajectory.drift():+.1e}",
        "time (ms/step)": lambda row: f"{row.trajectory.milliseconds_per_step:.1f}",
    }
    for heading, text in rows.items():
        table.add_row(heading, *(text(row) for row in comparisons))
    return table


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=4, help="cubic cells along each edge (default: 4, 512 atoms)")
    parser.add_argument("--steps", type=int, default=300, help="steps of molecular dynamics (default: 300)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "build", help="folder for results")
    options = parser.parse_args()

    # With one thread, times can be compared between machines and runs.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = Console()
    atoms = silicon(options.cells)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        comparisons = [compare(model, atoms, options.steps, options.output, progress) for model in MODELS]
        console.print("forces on configurations that no model was trained on")
        parities = [compare_with_reference(model) for model in MODELS]
    console.print(result_table(comparisons, atoms, options.steps))
    console.print(f"reference: {reference_model_id()}")
    picture = options.output / "energy_and_parity.png"
    draw([(row.model, row.trajectory) for row in comparisons], parities, picture)
    console.print(f"picture: {picture}")


if __name__ == "__main__":
    main()
