# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why the driver turns TorchScript's optimising executor off: time of each compute with it and without.

    .venv/bin/python tests/benchmark/executor.py MODEL_FOLDER [--cells 5]

MODEL_FOLDER is a graph model's folder. The number of edges changes from step to step, as in molecular dynamics. Both
settings run in this process, in turns; times in ms for one thread: the first three computes, the third and the
thirtieth, and the median from the tenth on.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from ase.build import bulk
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.inputs import FILE_FORMATS, ModelInputs, Particles, make_inputs
from kim_torchml.inputs._neighbour_lists import NeighbourLists
from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.model_folder import read_model_folder
from kim_torchml.model_files.parameter_file import ElementsMap

COMPUTES = 30
SKIN = 0.3  # Å


def silicon(cells: int, model: ModelDescription, seed: int) -> Particles:
    """Return rattled periodic silicon, with its images within the influence distance as non-contributing particles."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True).repeat(cells)
    atoms.rattle(0.1, seed=seed)
    edge, reach = atoms.cell.lengths(), model.cutoff * model.n_layers + SKIN
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]
    images = np.concatenate([atoms.positions + shift * edge for shift in shifts])
    near = ((images > -reach) & (images < edge + reach)).all(axis=1)
    near[: len(atoms)] = True
    coordinates = images[near]
    contributing = np.arange(len(coordinates)) < len(atoms)
    lists = cKDTree(coordinates).query_ball_point(coordinates, model.cutoff + SKIN)
    others = [[j for j in found if j != i] for i, found in enumerate(lists)]
    counts = np.array([len(found) for found in others], dtype=np.int32)
    neighbours = NeighbourLists(coordinates, contributing, counts, np.concatenate(others))
    return Particles(coordinates, np.zeros(len(coordinates), dtype=np.int32), contributing, neighbours)


def time_once(program: TorchScriptProgram, inputs: ModelInputs, optimised: bool) -> float:
    """Return the time of one forward and backward, ms."""
    begin = perf_counter()
    with torch.jit.optimized_execution(optimised):
        energy = program._module(*inputs.arguments)
    torch.autograd.grad(energy.sum(), inputs.leaf)
    return 1000.0 * (perf_counter() - begin)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a graph model")
    parser.add_argument("--cells", type=int, default=5, help="cubic cells along each edge (default: 5, 1000 atoms)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = read_model_folder(
        options.folder, [path.name for path in options.folder.iterdir()], FILE_FORMATS, ElementsMap(True)
    )
    kind = make_inputs(files)
    # The executor's plans belong to the module: one for each setting.
    programs = {
        optimised: TorchScriptProgram(files.program, files.description.model_file, torch.device("cpu"))
        for optimised in (True, False)
    }
    times: dict[bool, list[float]] = {True: [], False: []}
    for step in range(COMPUTES):
        particles = silicon(options.cells, files.description, seed=step)
        for optimised, program in programs.items():
            inputs = kind.build(particles, program.dtype, program.device)
            times[optimised].append(time_once(program, inputs, optimised))
    table = Table(title=f"{files.description.model_file}, {8 * options.cells**3} atoms, ms per forward and backward")
    for heading in ("executor", "1st", "2nd", "3rd", f"{COMPUTES}th", "median from 10th", "3rd / median"):
        table.add_column(heading, justify="right")
    for name, values in (("optimising (torch's default)", times[True]), ("plain (the driver's)", times[False])):
        steady = median(values[9:])
        shown = [*values[:3], values[-1], steady]
        table.add_row(name, *(f"{value:.1f}" for value in shown), f"{values[2] / steady:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
