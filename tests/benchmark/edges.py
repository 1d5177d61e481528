# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graph example as Graph and as edges in LAMMPS, with virials of particles and without, in turns, one thread.

    .venv/bin/python tests/benchmark/edges.py [--sizes 2 3 5 8] [--steps N] [--runs N]

Columns: CPU time of a step of LAMMPS; that of the bare model's forward and backward, on the same inputs at the same
time; their ratio, step by step; time that the driver spends before the model (neighbour lists, edges, tensors); rows
and edges that the model is called with, edges of all layers together; peak memory. Times and ratios are medians over
steps, and of them over runs.
"""

import argparse
from statistics import median

from lammps import find_models, measure
from rich.console import Console
from rich.progress import track
from rich.table import Table

# LAMMPS asks for virials of particles in every step in which this compute is printed.
_STRESS = """\
compute virial_of_atom all stress/atom NULL virial
compute virial all reduce sum c_virial_of_atom[1]
thermo_style custom step pe c_virial
thermo 1"""
_PLAIN = """\
thermo_style custom step pe
thermo 1"""

CASES = (
    ("Graph", "TorchML_Graph_Si", _PLAIN),
    ("edges", "TorchML_Edges_Si", _PLAIN),
    ("edges, particle virials", "TorchML_Edges_Si", _STRESS),
)
_COLUMNS = {
    "step": "{:.2f}",
    "bare": "{:.2f}",
    "ratio in pairs": "{:.3f}",
    "before": "{:.2f}",
    "rows": "{:.0f}",
    "edges": "{:.0f}",
    "peak": "{:.0f}",
}
_HEADINGS = ("kind", "atoms", "step ms", "bare ms", "ratio", "before ms", "rows", "edges", "peak MB")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 3, 5, 8], help="cubic cells along each edge")
    parser.add_argument("--steps", type=int, default=30, help="steps of each run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case and size (default: %(default)s)")
    options = parser.parse_args()
    missing = {model for _, model, _ in CASES}.difference(find_models([model for _, model, _ in CASES]))
    if missing:
        parser.error(f"{', '.join(sorted(missing))} must be installed: bash docker/install.sh model examples/...")
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    turns = [(cells, case) for cells in options.sizes for _ in range(options.runs) for case in CASES]
    for cells, (name, model, commands) in track(turns, "LAMMPS"):
        found.setdefault((cells, name), []).append(measure(model, cells, options.steps, commands))
    table = Table(title="the graph example in LAMMPS, one thread; CPU time in ms per step")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for (cells, name), rows in found.items():
        values = (form.format(median(row[key] for row in rows)) for key, form in _COLUMNS.items())
        table.add_row(name, str(8 * cells**3), *values)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
