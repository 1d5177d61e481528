# SPDX-License-Identifier: LGPL-2.1-or-later
"""CPU time of folding: the first inference of owners, a list that is made anew, and the pass in every other step.

    .venv/bin/python tests/benchmark/folding.py [--cells 5 11 23] [--runs N]

The particles are displaced silicon with the images that LAMMPS makes on one rank, 5 Å and a skin of 2 Å deep. Each time
is the best of a few runs, in ms of CPU with one thread, beside the budget for as many particles and the part of it that
is used. Which particles are within the cutoff is answered beforehand: the neighbour lists tell a driver.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

# numpy's libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from folding_structures import crystal
from paddings import Padded, lammps

from kim_torchml.inputs.folding.folding import Folding
from kim_torchml.inputs.folding.inference import infer
from kim_torchml.inputs.folding.rows import ParticleList

CUTOFF, SKIN = 5.0, 2.0  # Å
# Budgets in ms for so many contributing particles, to the nearest power of ten; between them none is set.
BUDGETS = {
    "first inference": {1_000: 100.0, 100_000: 2500.0},
    "re-neighbouring": {1_000: 3.0, 100_000: 60.0},
    "every step": {1_000: 0.3, 100_000: 3.0},
}


def best(function: Callable[[], object], runs: int, prepare: Callable[[], object] = lambda: None) -> float:
    """Return the shortest CPU time of a call, ms; each is prepared for, which is not timed."""
    times = []
    for _ in range(runs):
        prepare()
        begin = process_time()
        function()
        times.append(1000.0 * (process_time() - begin))
    return min(times)


def silicon(cells: int) -> list[Padded]:
    """Return the list of displaced silicon, the same a step later, and the one of a re-neighbouring after that."""
    structure = crystal("diamond", cells, cells, cells).displaced(0.05)
    first = lammps(structure.coordinates, structure.species_codes, structure.cell, CUTOFF + SKIN)
    random = np.random.default_rng(2)
    later = first.moved(random.normal(0.0, 0.02, (len(first.own), 3)))
    moved = first.moved(random.normal(0.0, 0.2, (len(first.own), 3)))
    again = lammps(moved.coordinates[moved.own], structure.species_codes, structure.cell, CUTOFF + SKIN)
    return [first, later, again]


def measure(made: list[Padded], runs: int) -> dict[str, float]:
    """Return the times in ms for lists that `silicon` made."""
    reached = [each.reached(CUTOFF) for each in made]
    folding = Folding()

    def rows(k: int) -> None:
        """Let the folding see one of the lists. Its arrays are new ones in every step, as they are in the driver."""
        folding.rows(particles.pop(), CUTOFF, lambda: reached[k])

    particles: list[ParticleList] = []

    def before(k: int) -> None:
        """Let the folding know the first list, with another one to come."""
        particles.append(made[0].particles())
        rows(0)
        particles.append(made[k].particles())

    def infer_first() -> None:
        infer(particles.pop(), CUTOFF, reached[0])

    return {
        "first inference": best(infer_first, runs, lambda: particles.append(made[0].particles())),
        "every step": best(lambda: rows(1), 3 * runs, lambda: before(1)),
        "re-neighbouring": best(lambda: rows(2), runs, lambda: before(2)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", type=int, default=[5, 11, 23], help="cubic cells along each edge")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, of which the best counts")
    options = parser.parse_args()
    table = Table(title="displaced silicon, 5 Å and a skin of 2 Å; CPU ms")
    for heading in ("contributing", "images", "what", "ms", "budget", "part"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for cells in options.cells:
        made = silicon(cells)
        n_own = len(made[0].own)
        for what, time in measure(made, options.runs).items():
            budget = BUDGETS[what].get(10 ** round(np.log10(n_own)))
            beside = ("", "") if budget is None else (f"{budget:g}", f"{time / budget:.2f}")
            table.add_row(str(n_own), str(len(made[0].images)), what, f"{time:.2f}", *beside)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
