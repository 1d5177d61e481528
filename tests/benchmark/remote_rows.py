# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a network computes on rows that are copies of other ranks' particles, which have no edges of their own.

    .venv/bin/python tests/benchmark/remote_rows.py [FOLDER] [--layers 3 5] [--cells 5] [--ranks 2 4] [--rounds 9]

A crystal of displaced silicon is divided as LAMMPS does it. The program of one rank is called with the rows that this
rank has, and, in turns and in the same process, with the same edges but without the rows of other ranks: their ends are
own rows instead. Both have as many edges, so that the difference is what the other rows cost; their features come from
rows of the same process, so that this is part of it. One thread, CPU ms of a
forward and a derivative, medians; the ratio is the median over pairs. FOLDER is a model for silicon (compiled where the
cache has it); without, networks of continuous_filters.py run eagerly.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time

# torch reads it when it is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from ase.build import bulk
from ase.neighborlist import neighbor_list
from continuous_filters import ContinuousFilterNetwork
from rich.console import Console
from rich.table import Table

import kim_torchml
from kim_torchml.driver import open_model
from kim_torchml.engines.exchange import exchanging
from kim_torchml.inputs import ModelInputs

_GRIDS = {2: (2, 1, 1), 4: (2, 2, 1), 8: (2, 2, 2)}


class Copies:
    """Fills the rows of other ranks with those of own particles: what is in them does not matter here."""

    def __init__(self, n_own: int, n_rows: int) -> None:
        self.n_own = n_own
        self._owners = torch.arange(n_rows - n_own, device="cpu") % n_own

    def forward(self, rows: torch.Tensor) -> None:
        """Fill them."""
        rows[self.n_own :] = rows[self._owners]

    def backward(self, rows: torch.Tensor) -> None:
        """Add derivatives."""
        rows[: self.n_own].index_add_(0, self._owners, rows[self.n_own :].clone())
        rows[self.n_own :] = 0.0


def rank_of(n_ranks: int, cells: int, cutoff: float, species: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return species codes of a rank's rows, own ones first, its edges, and their vectors; and how many are its own."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=1)
    grid = np.array(_GRIDS[n_ranks])
    owner = np.ravel_multi_index(np.floor(atoms.get_scaled_positions() * grid).astype(int).T, grid)
    centres, neighbours, vectors = neighbor_list("ijD", atoms, cutoff)
    chosen = owner[centres] == 0
    centres, neighbours, vectors = centres[chosen], neighbours[chosen], vectors[chosen]
    own = np.flatnonzero(owner == 0)
    others = np.setdiff1d(neighbours, own)
    row = np.full(len(atoms), -1)
    row[own], row[others] = np.arange(len(own)), len(own) + np.arange(len(others))
    codes = np.full(len(own) + len(others), species.index("Si"))
    return codes, np.stack([row[centres], row[neighbours]]), vectors, len(own)


def inputs_of(codes: np.ndarray, edges: np.ndarray, vectors: np.ndarray, n_own: int, dtype: torch.dtype) -> ModelInputs:
    """Return what a program is called with."""
    leaf = torch.tensor(vectors, dtype=dtype, device="cpu").requires_grad_(True)
    arguments = (torch.tensor(codes, device="cpu"), torch.tensor(edges, device="cpu"), leaf)
    return ModelInputs(arguments, leaf, len(codes), slice(0, n_own), None, len(vectors))


def measure(folder: Path, cells: int, n_ranks: int, rounds: int) -> tuple[str, ...]:
    """Return the cells of a row of the table."""
    model = open_model(str(folder), [path.name for path in folder.iterdir() if path.name.startswith("model.")])
    program = model._program
    codes, edges, vectors, n_own = rank_of(n_ranks, cells, model.cutoff, model.species)
    without = edges % n_own
    pairs = []
    for _ in range(rounds + 2):
        times = []
        for each, rows in ((edges, codes), (without, codes[:n_own])):
            given = inputs_of(rows, each, vectors, n_own, program.dtype)
            begin = process_time()
            with exchanging(Copies(n_own, len(rows))):
                program.run(given, wants_gradient=True)
            times.append(1e3 * (process_time() - begin))
        pairs.append(times)
    # Later calls find memory as it was left.
    pairs = pairs[2:]
    whole, own = (median(each) for each in zip(*pairs, strict=True))
    ratio = median(a / b for a, b in pairs)
    numbers = (8 * cells**3, n_ranks, n_own, len(codes) - n_own, len(vectors))
    return (*map(str, numbers), f"{whole:.1f}", f"{own:.1f}", f"{ratio:.3f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="a model's folder")
    parser.add_argument("--layers", nargs="+", type=int, default=[3, 5], help="layers of networks that are made here")
    parser.add_argument("--cells", type=int, default=5, help="cubic cells along each edge (default: %(default)s)")
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4], choices=sorted(_GRIDS), help="numbers of ranks")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of calls (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="rows of other ranks: CPU ms of a forward and a derivative")
    for heading in ("model", "atoms", "ranks", "own rows", "others", "edges", "with", "without", "ratio"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    with tempfile.TemporaryDirectory() as made:
        folders = [options.folder] if options.folder else []
        if not folders:
            os.environ["KIM_TORCHML_COMPILE"] = "never"
            for n_layers in options.layers:
                what = {"kind": "edges", "species": ["Si"], "cutoff": 5.0, "layers": n_layers, "file_format": "pt2"}
                folders.append(Path(made) / f"{n_layers}_layers")
                kim_torchml.save_model(ContinuousFilterNetwork(n_layers, 5.0), folders[-1], name="Filters", **what)
        for folder in folders:
            for n_ranks in options.ranks:
                table.add_row(folder.name, *measure(folder, options.cells, n_ranks, options.rounds))
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
