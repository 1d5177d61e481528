# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run SevenNet-0 in LAMMPS and ASE beside the calculator of its own package, and show how they compare.

The weights become a KIM model, which is installed in KIM's user collection and compiled. Exit status: 0 if all
differences are as small as SevenNet's single precision lets them be, else 1.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from calculators import CalculatorProcess
from compared_structures import STRUCTURES, crystal
from comparison_picture import draw
from comparison_table import curve_table, structure_table
from in_lammps import notice_of_driver, run_structure, run_volumes
from prepare import FAMILY, MODEL, WEIGHTS, convert, install, python_of
from results import ASE, LAMMPS, LIMITS, PACKAGE, UNITS, Compared, Curve, excesses
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

REPOSITORY = Path(__file__).resolve().parents[2]
TURNS = 3
# Å; SevenNet-0's own lattice constant of silicon is in the middle.
LATTICE_CONSTANTS = [float(each) for each in 5.46 * np.linspace(0.97, 1.03, 9)]


def compare_structures(
    steps: int, calculators: dict[str, CalculatorProcess], folder: Path, progress: Progress
) -> list[Compared]:
    """Compute each structure everywhere, and time steps from it on, in turns.

    Args:
        steps: Steps of molecular dynamics in each turn.
        calculators: Calculators by ASE and PACKAGE.
        folder: Folder for LAMMPS' files.
        progress: Shows how far this is.
    """
    task = progress.add_task("structures", total=len(STRUCTURES) * TURNS * 3)
    compared = []
    for name, make in STRUCTURES.items():
        atoms = make()
        progress.console.print(f"{name}, {len(atoms)} atoms: LAMMPS, ASE and {PACKAGE} calculator in turns")
        results = {where: calculator.compute(atoms) for where, calculator in calculators.items()}
        times: dict[str, list[float]] = {where: [] for where in (LAMMPS, *calculators)}
        for _ in range(TURNS):
            results[LAMMPS], time = run_structure(MODEL, atoms, steps, folder / name)
            times[LAMMPS].append(time)
            for where, calculator in calculators.items():
                progress.advance(task)
                times[where].append(calculator.time(atoms, steps))
            progress.advance(task)
        compared.append(Compared(name, results, times))
    return compared


def compare_volumes(calculator: CalculatorProcess, folder: Path, progress: Progress) -> dict[str, Curve]:
    """Return the equation of state of silicon from LAMMPS and from the package's own calculator."""
    progress.console.print(f"equation of state of silicon, {len(LATTICE_CONSTANTS)} volumes")
    curve = run_volumes(MODEL, LATTICE_CONSTANTS, folder)
    cells = [crystal(each) for each in LATTICE_CONSTANTS]
    volumes, energies = [], []
    for atoms in progress.track(cells, description=f"volumes, {PACKAGE}"):
        volumes.append(atoms.get_volume() / len(atoms))
        energies.append(calculator.compute(atoms).energy / len(atoms))
    return {LAMMPS: curve, PACKAGE: Curve(np.array(volumes), np.array(energies), len(cells[0]))}


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="bash examples/run.sh --family sevennet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=5, help="steps of molecular dynamics in each turn (default: 5)")
    parser.add_argument("--no-compile", action="store_true", help="leave out compiling, which takes minutes, once")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "build", help="folder for results")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps must be 1 or more, got {options.steps}")
    return options


def environment_of_family() -> Path:
    """Return the environment that examples/run.sh has made of the family's package.

    Raises:
        RuntimeError: If there is none.
    """
    folder = Path(os.environ.get("KIM_TORCHML_FAMILIES") or REPOSITORY / ".venv-families") / FAMILY
    if not python_of(folder).exists():
        raise RuntimeError(
            f"there is no environment of the package in {folder}; run `bash examples/run.sh --family {FAMILY}`"
        )
    return folder


def run(options: argparse.Namespace, console: Console) -> list[str]:
    """Prepare the model, compare it, show the results; return a sentence for each difference that is too large."""
    environment, output = environment_of_family(), options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    install(convert(environment, output, console), not options.no_compile, console)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
        CalculatorProcess(Path(sys.executable), "kim", MODEL, output / "ase.txt") as kim,
        CalculatorProcess(python_of(environment), FAMILY, WEIGHTS, output / "package.txt") as own,
    ):
        compared = compare_structures(options.steps, {ASE: kim, PACKAGE: own}, output, progress)
        curves = compare_volumes(own, output / "volumes", progress)
    console.print(structure_table(compared, options.steps, TURNS))
    console.print(curve_table(curves))
    console.print(notice_of_driver(output / compared[0].name), markup=False, soft_wrap=True)
    picture = output / "sevennet.png"
    draw(compared, curves, picture)
    console.print(f"picture: {picture}", soft_wrap=True)
    return excesses(compared, curves)


def main() -> None:
    """Run the comparison."""
    options = parse_options()
    console = Console()
    try:
        found = run(options, console)
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    for sentence in found:
        console.print(sentence, style="red", soft_wrap=True)
    if found:
        sys.exit(1)
    allowed = ", ".join(f"{limit:.0e} {UNITS[what]}" for what, limit in LIMITS.items())
    console.print(f"all differences are as small as they must be ({allowed})", soft_wrap=True)


if __name__ == "__main__":
    main()
