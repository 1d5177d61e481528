# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time of the descriptors in microseconds per atom, beside that of libdescriptor.

    .venv/bin/python tests/benchmark/descriptors.py [--cells 5] [--threads 1] [--device cpu] [--dtype float64]

The particles are rattled periodic silicon. The 51 symmetry functions are those of the published model
TorchMLModel2_Desc, with a cutoff of 5.0 Å; the model is found in ../shared or in the folder that KIM_TORCHML_SHARED
names. The times are the best wall times of a number of runs. Those of libdescriptor are constants below, measured with
the same descriptors, so that the factor is a rough one on other machines. Its values and its gradient were measured one
after the other, and their times are added up for values with gradient.
"""

import argparse
import os
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from ase.build import bulk
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from kim_torchml.descriptors import Descriptor, Neighbourhoods, read_descriptor

HEAD = "cos\n1\nSi Si {cutoff}\n"
# jmax, rfac0, diagonalstyle, rmin0, switch_flag, bzero_flag, weights; n_max, l_max, cutoff, radial basis, eta.
BISPECTRUM = HEAD + "3\n0.99363\n3\n0.0\n1\n0\n1.0\n"
SOAP = HEAD + "4\n4\n{cutoff}\npolynomial\n1.0\n"

# Name in the table, descriptor, cutoff in Å, and microseconds per atom that libdescriptor took for values and gradient.
CASES = (
    ("51 functions", "SymmetryFunctions", 5.0, 468, 5878),
    ("2jmax 6", "Bispectrum", 4.6, 51, 1478),
    ("n_max 4, l_max 4", "SOAP", 5.0, 10395, 187688),
)


def content(name: str, cutoff: float) -> str:
    """Return the text of a descriptor's file."""
    if name == "SymmetryFunctions":
        default = Path(__file__).resolve().parents[2].parent / "shared"
        shared = Path(os.environ.get("KIM_TORCHML_SHARED", default))
        text = (shared / "portable_models" / "TorchMLModel2_Desc" / "kim_descriptor.dat").read_text()
        return text.replace("Si  Si  3.0", f"Si  Si  {cutoff}")
    return {"Bispectrum": BISPECTRUM, "SOAP": SOAP}[name].format(cutoff=cutoff)


def silicon(cells: int, cutoff: float, dtype: torch.dtype, device: torch.device) -> Neighbourhoods:
    """Return rattled periodic silicon; its images within the cutoff are neighbours, but not centres."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True).repeat(cells)
    atoms.rattle(0.05, seed=1)
    edge, m = atoms.cell.lengths(), len(atoms)
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]
    images = np.concatenate([atoms.positions + shift * edge for shift in shifts])
    near = ((images > -cutoff) & (images < edge + cutoff)).all(axis=1)
    near[:m] = True
    points = images[near]
    lists = [np.setdiff1d(found, i) for i, found in enumerate(cKDTree(points).query_ball_point(points[:m], cutoff))]
    return Neighbourhoods(
        torch.tensor(points, dtype=dtype, device=device).requires_grad_(True),
        torch.zeros(len(points), dtype=torch.int64, device=device),
        torch.arange(m, device=device),
        torch.tensor([len(found) for found in lists], device=device),
        torch.tensor(np.concatenate(lists), device=device),
    )


def best_times(descriptor: Descriptor, neighbourhoods: Neighbourhoods, runs: int) -> tuple[float, float]:
    """Return the time of values, and of values and gradient together, in microseconds per atom."""
    m = len(neighbourhoods.centres)
    weights = torch.linspace(-1.0, 1.0, m * descriptor.width).view(m, -1).to(neighbourhoods.coordinates)
    synchronise = torch.cuda.synchronize if weights.is_cuda else lambda: None
    times = []
    for _ in range(runs):
        begin = perf_counter()
        values = descriptor(neighbourhoods)
        synchronise()
        middle = perf_counter()
        torch.autograd.grad(values, neighbourhoods.coordinates, weights)
        synchronise()
        times.append((middle - begin, perf_counter() - begin))
    return tuple(1e6 / m * min(column) for column in zip(*times, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5, help="cubic cells along each edge (default: 5, 1000 atoms)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: 1)")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument("--dtype", default="float64", choices=("float64", "float32"))
    parser.add_argument("--runs", type=int, default=7, help="runs of which the best counts (default: 7)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table(title=f"microseconds per atom, {8 * options.cells**3} Si atoms, {options.dtype} on {options.device}")
    for heading in ("descriptor", "neighbours", "values", "with gradient", "libdescriptor", "factor"):
        table.add_column(heading, justify="left" if heading == "descriptor" else "right")
    for label, name, cutoff, their_values, their_gradient in CASES:
        descriptor, _ = read_descriptor(content(name, cutoff), f"{name}.dat", name, ["Si"], cutoff)
        neighbourhoods = silicon(options.cells, cutoff, getattr(torch, options.dtype), torch.device(options.device))
        values, both = best_times(descriptor, neighbourhoods, options.runs)
        n_neighbours = neighbourhoods.counts.double().mean().item()
        theirs = their_values + their_gradient
        numbers = [f"{n_neighbours:.0f}", f"{values:.1f}", f"{both:.1f}", f"{theirs}", f"{theirs / both:.0f}"]
        table.add_row(f"{name}, {label}", *numbers)
    Console().print(table)


if __name__ == "__main__":
    main()
