# SPDX-License-Identifier: LGPL-2.1-or-later
"""What limits and a profile cost: the edges example computed without them, with each, in turns, in this process.

    .venv/bin/python tests/benchmark/switches.py [--sizes 2 3 5 8] [--repeats N]

Columns: CPU time of a compute without either; ratio to it, pair by pair, of another model without either (what chance
makes of equal ones), of one with limits that no particle is beyond, and of one that is profiled. Medians; one thread.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase.build import bulk
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from kim_torchml.driver import open_model
from kim_torchml.driver.model import Model
from kim_torchml.inputs._neighbour_lists import NeighbourLists
from kim_torchml.process import settings
from kim_torchml.tools.kim_host.particles import AtomsAndImages, particles_of
from kim_torchml.tools.kim_host.structure import Structure

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "edges"
FILES = ("model.toml", "model.pt2")
LIMITS = "\n[limits]\nsmallest_distance = 0.5\nmost_neighbours = 1000\n"
SKIN = 2.0  # Å, LAMMPS's for metal units


def silicon(cells: int, reach: float) -> AtomsAndImages:
    """Return shaken silicon, and its images within reach."""
    atoms = bulk("Si", cubic=True).repeat(cells)
    atoms.rattle(0.05, seed=1)
    structure = Structure(atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc)
    return particles_of(structure, {"Si": 0}, reach)


def lists(particles: AtomsAndImages, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the length of each particle's neighbour list, and the lists one after the other."""
    found = cKDTree(particles.coordinates).query_ball_point(particles.coordinates, cutoff + SKIN)
    neighbours = [[other for other in others if other != index] for index, others in enumerate(found)]
    counts = np.array([len(each) for each in neighbours], dtype=np.int32)
    return counts, np.concatenate(neighbours).astype(np.int32)


def prepared(folder: Path, limits: str = "", profile: bool = False) -> Model:
    """Return a model of its own."""
    folder.mkdir()
    for name in FILES:
        text = limits.encode() if name == "model.toml" else b""
        (folder / name).write_bytes((EXAMPLE / name).read_bytes() + text)
    os.environ[settings.PROFILE] = "1" if profile else "0"
    model = open_model(str(folder), FILES)
    model.prepare()
    return model


def time_once(model: Model, particles: AtomsAndImages, of_particles: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the CPU time of one compute, s."""
    outputs = {"partialEnergy": np.zeros(1), "partialForces": np.zeros((len(particles), 3))}
    arrays = (particles.coordinates, particles.codes, particles.contributing)
    neighbours = NeighbourLists(particles.coordinates, particles.contributing, *of_particles)
    started = time.process_time()
    model.compute(*arrays, neighbours, outputs)
    return time.process_time() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 3, 5, 8], help="cubic cells along each edge")
    parser.add_argument("--repeats", type=int, default=40, help="computes of each model and size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["KIM_TORCHML_QUIET"] = "1"
    table = Table("atoms", "plain ms", "plain again", "limits", "profile", title="the edges example, ratios to plain")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        models = [prepared(folder / "plain"), prepared(folder / "again")]
        models += [prepared(folder / "limits", LIMITS), prepared(folder / "profile", profile=True)]
        for cells in options.sizes:
            particles = silicon(cells, models[0].influence_distance)
            of_particles = lists(particles, models[0].cutoff)
            turns = range(options.repeats + 3)
            times = [[time_once(model, particles, of_particles) for model in models] for _ in turns][3:]
            ratios = [median(row[index] / row[0] for row in times) for index in range(1, len(models))]
            plain = median(row[0] for row in times)
            table.add_row(str(8 * cells**3), f"{1e3 * plain:.2f}", *(f"{ratio:.3f}" for ratio in ratios))
    Console().print(table)


if __name__ == "__main__":
    main()
