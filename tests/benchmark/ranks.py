# SPDX-License-Identifier: LGPL-2.1-or-later
"""Message passing in LAMMPS on several ranks, which exchange features or compute particles of others again.

    .venv/bin/python tests/benchmark/ranks.py [--layers 3 5] [--cells 5 8] [--rounds N] [--ranks 1 2 4 8]
                                              [--model FOLDER] [--compile] [--plot FILE]

Silicon, networks of continuous_filters.py as save_model writes them with a cutoff of 5 Å, or with --model one model,
which is only timed; one thread a rank. Driver and models are installed into a KIM collection in a temporary folder.
Needs mpirun and mpi4py.

The first table counts rows and edges of each rank, the largest of all ranks, by networks of one channel, which are
cheap enough for as many ranks as --ranks names on any machine: edges are counted once for each layer that they are
computed in. The second one has times: in each round, in turns,
  1 rank     folded: what a periodic code computes;
  staged     2 ranks, each of which computes the particles of the other around its own again;
  exchange   2 ranks that exchange features.
"CPU" is that of the driver's computes, without what ranks spend waiting for each other, summed over ranks: ms for a
step. "wall" is that of the slower rank, with waiting. LAMMPS makes its lists anew in every tenth step, and these count
for a tenth. "exchanged" is what features and coordinates take, of the same CPU time; "plan" is what ranks take to agree
anew on owners, ms for each re-neighbouring, and "first" what they take in the first step. Medians over steps, and of
them over rounds. A staged run with too many edges (--most-edges) is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from continuous_filters import ContinuousFilterNetwork
from lammps import input_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

import kim_torchml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from kim_collection import KimCollection, export_sources  # noqa: E402

CUTOFF = 5.0  # Å
EVERY = 10
_LISTS = f"neigh_modify every {EVERY} delay 0 check no\nthermo_style custom step pe\nthermo {EVERY}"
FOLDED, STAGED, EXCHANGE = "folded", "staged", "exchange"
# Ways to compute, and the ranks that are timed in each.
TIMED = {FOLDED: 1, STAGED: 2, EXCHANGE: 2}
Records = list[dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A system and a model.

    Attributes:
        model: KIM id of the model.
        n_layers: number of its layers, 0 where that is not known here.
        cells: cubic cells along each edge.
    """

    model: str
    n_layers: int
    cells: int

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return 8 * self.cells**3


def name_of(n_layers: int, *, is_cheap: bool) -> str:
    """Return the KIM id of a network of these benchmarks."""
    return f"Benchmark_{'Counting' if is_cheap else 'Filters'}_{n_layers}"


def install(folder: Path, options: argparse.Namespace) -> None:
    """Install driver and networks into a collection that this process uses from now on."""
    os.environ |= {"OMP_NUM_THREADS": "1", "KIM_TORCHML_QUIET": "1"}
    os.environ |= {"KIM_TORCHML_COMPILE": "cached" if options.compile else "never"}
    collection = KimCollection(folder / "collection")
    sources = folder / "export"
    sources.mkdir()
    collection.install(export_sources(sources), KIM_TORCHML_PYTHON=sys.executable)
    os.environ["KIM_API_CONFIGURATION_FILE"] = collection.environment["KIM_API_CONFIGURATION_FILE"]
    os.environ |= {"KIM_TORCHML_CACHE": str(folder / "cache"), "XDG_DATA_HOME": str(folder / "data")}
    if options.model:
        words = [] if options.compile else ["--no-compile"]
        command = [sys.executable, "-m", "kim_torchml", "install", *words, str(options.model)]
        subprocess.run(command, check=True, capture_output=True)
        return
    for n_layers in options.layers:
        for is_cheap in (True, False):
            name = name_of(n_layers, is_cheap=is_cheap)
            network = ContinuousFilterNetwork(n_layers, CUTOFF, *((1, 1) if is_cheap else ()))
            what = {"name": name, "kind": "edges", "species": ["Si"], "cutoff": CUTOFF, "layers": n_layers}
            kim_torchml.save_model(network, folder / name, file_format="pt2", **what)
            collection.install(folder / name)
            if options.compile and not is_cheap:
                command = [sys.executable, "-m", "kim_torchml", "compile", name]
                subprocess.run(command, check=True, capture_output=True)


def run(model: str, cells: int, steps: int, ranks: int, way: str) -> list[Records]:
    """Run LAMMPS; return what each rank has recorded of each compute."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.benchmark").write_text(input_of(model, cells, steps, _LISTS))
        environment = os.environ | {
            "KIM_TORCHML_EDGES": way,
            "KIM_TORCHML_BENCHMARK_RANKS": folder,
            "PYTHONPATH": os.pathsep.join([str(HERE / "recorder"), os.environ.get("PYTHONPATH", "")]),
        }
        launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]
        command = [*launcher, "lmp", "-in", "in.benchmark", "-nocite"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"LAMMPS failed with {model}, {way}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(ranks)]


def in_steps(numbers: list[float]) -> float:
    """Return the mean of a step from the numbers of all steps; steps with new lists count for one of EVERY."""
    new = [each for step, each in enumerate(numbers) if step and step % EVERY == 0]
    old = [each for step, each in enumerate(numbers) if step % EVERY]
    return median(old) if not new else (median(new) + (EVERY - 1) * median(old)) / EVERY


def busy(record: dict[str, float]) -> float:
    """Return the CPU seconds of a compute in which a rank did not wait for others."""
    return record["cpu"] - record.get("waiting", 0.0)


def timed(case: Case, steps: int, way: str) -> dict[str, float]:
    """Return what a run takes."""
    ranks = run(case.model, case.cells, steps, TIMED[way], way)
    cpu = sum(in_steps([busy(each) for each in records]) for records in ranks)
    exchange = sum(in_steps([each.get("exchange", 0.0) for each in records]) for records in ranks)
    planned = [1e3 * each["planning"] for records in ranks for each in records[1:] if "planning" in each]
    return {
        "cpu": 1e3 * cpu,
        "wall": 1e3 * max(in_steps([each["wall"] for each in records]) for records in ranks),
        "exchange": 1e3 * exchange,
        "part": exchange / cpu,
        "kB": max(in_steps([each.get("bytes", 0.0) for each in records]) for records in ranks) / 1e3,
        "plan": median(planned) if planned else 0.0,
        "first": 1e3 * max(records[0].get("planning", 0.0) for records in ranks),
        "rows": max(records[-1]["rows"] for records in ranks),
        "edges": max(records[-1]["edges"] for records in ranks),
    }


def count(n_layers: int, cells: int, ranks: int, way: str) -> tuple[int, int]:
    """Return the rows and edges of the rank that has most of them."""
    recorded = run(name_of(n_layers, is_cheap=True), cells, 1, ranks, way if ranks > 1 else FOLDED)
    return tuple(int(max(records[-1][what] for records in recorded)) for what in ("rows", "edges"))


def count_table(options: argparse.Namespace) -> tuple[Table, dict[tuple[int, int, int, str], tuple[int, int]]]:
    """Return the table of rows and edges, and what is in it."""
    table = Table(title="rows and edges of the rank that has most, one compute")
    headings = ("layers", "atoms", "ranks", "staged: rows", "edges", "exchange: rows", "edges", "part of one rank's")
    for heading in (*headings, "staged / exchange"):
        table.add_column(heading, justify="right")
    found = {}
    cases = [(n, cells, ranks) for n in options.layers for cells in options.cells for ranks in options.ranks]
    for n_layers, cells, ranks in track(cases, "counting"):
        for way in (STAGED, EXCHANGE):
            found[n_layers, cells, ranks, way] = count(n_layers, cells, ranks, way)
        (rows, edges), (own_rows, own_edges) = (found[n_layers, cells, ranks, way] for way in (STAGED, EXCHANGE))
        one = found.get((n_layers, cells, 1, EXCHANGE))
        table.add_row(
            *map(str, (n_layers, 8 * cells**3, ranks, rows, edges, own_rows, own_edges)),
            f"{own_edges / one[1]:.3f}" if one else "-",
            f"{edges / own_edges:.2f}",
        )
    return table, found


def time_table(cases: list[Case], options: argparse.Namespace) -> Table:
    """Return the table of times."""
    table = Table(title="LAMMPS, one thread a rank: ms for a step, ratio to one rank's")
    headings = (
        "layers",
        "atoms",
        "way",
        "ranks",
        "rows",
        "edges",
        "CPU",
        "x",
        "wall",
        "x",
        "exchanged",
        "of CPU",
        "kB",
    )
    for heading in (*headings, "plan", "first"):
        table.add_column(heading, justify="right")
    for case in track(cases, "LAMMPS"):
        rounds: dict[str, list[dict[str, float]]] = {way: [] for way in TIMED}
        for _ in range(options.rounds):
            for way in TIMED:
                if way != STAGED or not rounds[FOLDED] or _may_be_staged(case, options.most_edges):
                    rounds[way].append(timed(case, options.steps, way))
        for way, rows in rounds.items():
            if rows:
                table.add_row(str(case.n_layers or "-"), str(case.n_atoms), way, *_cells(rows, rounds[FOLDED], way))
    return table


def _may_be_staged(case: Case, most_edges: float) -> bool:
    return count(case.n_layers, case.cells, 2, STAGED)[1] <= most_edges if case.n_layers else False


def _cells(rows: list[dict[str, float]], one: list[dict[str, float]], way: str) -> list[str]:
    """Return the cells of a row, medians over rounds; ratios are taken within a round."""
    middle = {name: median(each[name] for each in rows) for name in rows[0]}
    ratios = {name: median(a[name] / b[name] for a, b in zip(rows, one, strict=True)) for name in ("cpu", "wall")}
    numbers = [str(TIMED[way]), f"{middle['rows']:.0f}", f"{middle['edges']:.0f}"]
    for name in ("cpu", "wall"):
        numbers += [f"{middle[name]:.1f}", f"{ratios[name]:.3f}"]
    if way != EXCHANGE:
        return [*numbers, "-", "-", "-", "-", "-"]
    return [
        *numbers,
        f"{middle['exchange']:.2f}",
        f"{100 * middle['part']:.2f} %",
        f"{middle['kB']:.0f}",
        f"{middle['plan']:.1f}",
        f"{middle['first']:.0f}",
    ]


def draw(found: dict[tuple[int, int, int, str], tuple[int, int]], path: Path) -> None:
    """Draw the edges of a rank, relative to all edges of one rank, against ranks, of the largest system."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "kim-torchml", "font.size": 11}
    import matplotlib.pyplot as plt

    cells = max(key[1] for key in found)
    figure, axis = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    ranks = sorted({key[2] for key in found})
    axis.plot(ranks, [1 / each for each in ranks], ":", color="#6b7280", label="an equal share")
    markers = iter("os^d")
    for n_layers in sorted({key[0] for key in found}):
        marker, one = next(markers), found[n_layers, cells, 1, EXCHANGE][1]
        for way, colour in ((STAGED, "#c2410c"), (EXCHANGE, "#1d4ed8")):
            part = [found[n_layers, cells, each, way][1] / one for each in ranks]
            axis.plot(ranks, part, f"{marker}-", color=colour, label=f"{way}, {n_layers} layers")
    axis.set(xlabel="ranks", ylabel="edges of a rank / edges of one rank alone", xscale="log", yscale="log")
    axis.set_xticks(ranks, [str(each) for each in ranks])
    axis.minorticks_off()
    axis.set_yticks([0.125, 0.25, 0.5, 1.0, 2.0], ["1/8", "1/4", "1/2", "1", "2"])
    axis.set_title(f"{8 * cells**3} atoms of silicon in LAMMPS, cutoff {CUTOFF:g} Å", fontsize=11)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", type=int, default=[3, 5], help="numbers of layers")
    parser.add_argument("--cells", nargs="+", type=int, default=[5, 8], help="cubic cells along each edge")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4, 8], help="numbers of ranks to count on")
    parser.add_argument("--steps", type=int, default=20, help="steps of each run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case (default: %(default)s)")
    parser.add_argument("--most-edges", type=float, default=5e5, help="of a staged run (default: %(default)g)")
    parser.add_argument("--model", type=Path, help="folder of a model, instead of the networks made here")
    parser.add_argument("--compile", action="store_true", help="compile the models first")
    parser.add_argument("--plot", type=Path, help="an SVG file for a picture of edges against ranks")
    options = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("installing"):
            install(Path(folder), options)
        if options.model:
            cases = [Case(options.model.resolve().name, 0, cells) for cells in options.cells]
        else:
            table, found = count_table(options)
            console.print(table)
            if options.plot:
                draw(found, options.plot)
            layers = [(n, cells) for n in options.layers for cells in options.cells]
            cases = [Case(name_of(n, is_cheap=False), n, cells) for n, cells in layers]
        if options.rounds:
            console.print(time_table(cases, options))


if __name__ == "__main__":
    main()
