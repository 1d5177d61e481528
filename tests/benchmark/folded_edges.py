# SPDX-License-Identifier: LGPL-2.1-or-later
"""Message passing in LAMMPS with folded images and with staged ones, beside the bare model on periodic edges.

    .venv/bin/python tests/benchmark/folded_edges.py [--layers 3 5] [--cells 2 3 5 8] [--rounds N]
                                                     [--compile] [--plot FILE]

Silicon, networks of continuous_filters.py as save_model writes them, 5 Å, one thread. In each round, in turns:
  bare    one forward and one derivative by the edge vectors, of the same program in a process of its own, on the
          edges of the folded run (bare_model.py): the physical limit;
  folded  a step of LAMMPS, with images folded;
  alone   a step of LAMMPS with a driver that computes nothing (idle_driver/) and the same halo: LAMMPS' own part;
  staged  a step of LAMMPS in which images are rows of their own;
  pairs   folded steps once more, each of them followed by the bare model on its own inputs in the same process.
All are CPU times, medians over steps, and of them over rounds. LAMMPS makes its lists anew in every tenth step, and
these count for a tenth. What the driver adds ("beyond"), which the budget is for, is the difference in pairs - alone:
on a machine with other work two processes differ by more than that. The second table divides it: neighbour lists,
folding, edges and tensors ("before model"); forces, sums, checks and outputs ("around it"); Python's lock and views of
memory ("shim"). A staged run with too many edges (--most-edges) is left out.
The driver of this checkout and the models are installed into a KIM collection in a temporary folder.
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
from lammps import input_of, measure_file
from rich.console import Console
from rich.progress import track
from rich.table import Table

import kim_torchml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from kim_collection import KimCollection, PortableModel, export_sources  # noqa: E402

CUTOFF = 5.0  # Å
IDLE, IDLE_MODEL = "Benchmark_IdleDriver", "Benchmark_Idle"
# What the driver asks of malloc in a Python that it starts (kim_driver_cpp/interpreter.cpp): the bare model has it too.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
# LAMMPS makes its lists anew in every so many steps.
EVERY = 10
_LISTS = f"neigh_modify every {EVERY} delay 0 check no\nthermo_style custom step pe\nthermo {EVERY}"
_ATOMS_PER_VOLUME = 8 / 5.431**3
_STAGED_STEPS = 3
# What the driver may add: ms at up to so many atoms, and a part of the bare model at more.
_SMALL, _MS, _PART = 216, 1.5, 0.05


@dataclass(frozen=True)
class Case:
    """One row of the tables.

    Attributes:
        n_layers: number of layers.
        cells: cubic cells along each edge.
    """

    n_layers: int
    cells: int

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return 8 * self.cells**3

    @property
    def model(self) -> str:
        """KIM id of the model."""
        return f"Benchmark_{self.n_layers}Layers"

    @property
    def staged_edges(self) -> float:
        """At least as many edges as a staged run has."""
        edge = 5.431 * self.cells + 2.0 * (self.n_layers - 1) * CUTOFF
        return 28.0 * _ATOMS_PER_VOLUME * edge**3

    @property
    def budget(self) -> str:
        """What the driver may add."""
        if self.n_atoms <= _SMALL:
            return f"{_MS:g} ms"
        return f"{1 + _PART:g} x"


class Benchmark:
    """The models, and a collection in which they are installed."""

    def __init__(self, folder: Path, layers: list[int], is_compiled: bool) -> None:
        """Install the drivers and the models into a collection that this process uses from now on."""
        self._folder = folder
        collection = KimCollection(folder / "collection")
        sources = folder / "export"
        sources.mkdir()
        collection.install(export_sources(sources), KIM_TORCHML_PYTHON=sys.executable)
        collection.install(HERE / "idle_driver")
        collection.install(PortableModel(IDLE_MODEL, {"nothing.txt": b"nothing\n"}, IDLE).write(folder))
        os.environ |= {
            "KIM_API_CONFIGURATION_FILE": collection.environment["KIM_API_CONFIGURATION_FILE"],
            "KIM_TORCHML_CACHE": str(folder / "cache"),
            "KIM_TORCHML_COMPILE": "cached" if is_compiled else "never",
            "OMP_NUM_THREADS": "1",
            "KIM_TORCHML_QUIET": "1",
        }
        for n_layers in layers:
            name = Case(n_layers, 1).model
            network = ContinuousFilterNetwork(n_layers, CUTOFF)
            what = {"name": name, "kind": "edges", "species": ["Si"], "cutoff": CUTOFF, "layers": n_layers}
            kim_torchml.save_model(network, folder / name, file_format="pt2", **what)
            collection.install(folder / name)
            if is_compiled:
                command = [sys.executable, "-m", "kim_torchml", "compile", name]
                subprocess.run(command, check=True, capture_output=True)

    def folded(self, case: Case, steps: int) -> dict[str, float]:
        """Return what a folded run takes, and let its edges be saved."""
        words = {"KIM_TORCHML_EDGES": "folded", "KIM_TORCHML_BENCHMARK_INPUTS": str(self._inputs(case))}
        return self._lammps(case, steps, words)

    def pairs(self, case: Case, steps: int) -> dict[str, float]:
        """Return what the driver and LAMMPS add to the bare model, ms, in all and in parts."""
        data = measure_file(case.model, case.cells, steps, _LISTS, KIM_TORCHML_EDGES="folded")
        times = data["times"]
        # The bare call of native code here looks at its inputs, as the driver's does.
        bare = [each - check for each, check in zip(times["bare"], times["check"], strict=True)]
        parts = {
            "beyond": [step - each for step, each in zip(times["step"], bare, strict=True)],
            "before": times["build"],
            "around": [
                compute - build - each
                for compute, build, each in zip(times["compute"], times["build"], bare, strict=True)
            ],
            "shim": [step - compute for step, compute in zip(times["step"], times["compute"], strict=True)],
            "bare in pairs": bare,
        }
        return {name: in_steps(part) for name, part in parts.items()}

    def staged(self, case: Case) -> dict[str, float]:
        """Return what a staged run takes."""
        words = {"KIM_TORCHML_EDGES": "staged", "KIM_TORCHML_BENCHMARK_INPUTS": str(self._folder / "staged.npz")}
        return self._lammps(case, _STAGED_STEPS, words)

    def _lammps(self, case: Case, steps: int, words: dict[str, str]) -> dict[str, float]:
        data = measure_file(case.model, case.cells, steps, _LISTS, **words)
        return {"step": in_steps(data["times"]["step"]), **data["facts"]}

    def bare(self, case: Case, calls: int) -> dict[str, float]:
        """Return what the model alone takes."""
        command = [sys.executable, HERE / "bare_model.py", self._folder / case.model, self._inputs(case), str(calls)]
        done = subprocess.run(command, env=os.environ | _MALLOC, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        return {"step": 1000 * median(found["times"]), "peak_mb": found["peak"]}

    def alone(self, case: Case) -> float:
        """Return the CPU time of a step of LAMMPS with a driver that computes nothing, ms."""
        few, many = EVERY, 20 * EVERY
        seconds = [self._cpu_of_idle(case, steps) for steps in (few, many)]
        return 1000 * (seconds[1] - seconds[0]) / (many - few)

    def _cpu_of_idle(self, case: Case, steps: int) -> float:
        (self._folder / "in.idle").write_text(input_of(IDLE_MODEL, case.cells, steps, _LISTS))
        environment = os.environ | {"BENCHMARK_CUTOFF": str(CUTOFF)}
        command = ["lmp", "-in", "in.idle"]
        process = subprocess.Popen(command, cwd=self._folder, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit("LAMMPS failed with the idle driver")
        return usage.ru_utime + usage.ru_stime

    def _inputs(self, case: Case) -> Path:
        return self._folder / f"inputs-{case.n_layers}-{case.cells}.npz"


def in_steps(seconds: list[float]) -> float:
    """Return the time of a step in ms, from those of all steps; steps with new lists count for one of EVERY."""
    new = [each for step, each in enumerate(seconds) if step and step % EVERY == 0]
    old = [each for step, each in enumerate(seconds) if step % EVERY]
    if not new:
        return 1000 * median(old)
    return 1000 * (median(new) + (EVERY - 1) * median(old)) / EVERY


def measure_case(benchmark: Benchmark, case: Case, options: argparse.Namespace) -> list[dict[str, float]]:
    """Return one row of numbers for each round."""
    rounds = []
    for _ in range(options.rounds):
        folded = benchmark.folded(case, options.steps)
        bare = benchmark.bare(case, options.steps)
        alone = benchmark.alone(case)
        pairs = benchmark.pairs(case, options.steps)
        row = {
            "edges": folded["edges"],
            "bare": bare["step"],
            "folded": folded["step"],
            "alone": alone,
            "beyond": pairs["beyond"] - alone,
            "ratio": 1.0 + (pairs["beyond"] - alone) / pairs["bare in pairs"],
            "before": pairs["before"],
            "around": pairs["around"],
            "shim": pairs["shim"] - alone,
            "bare MB": bare["peak_mb"],
            "folded MB": folded["peak_mb"],
        }
        if case.n_layers > 1 and case.staged_edges <= options.most_edges:
            staged = benchmark.staged(case)
            row |= {"staged": staged["step"], "staged MB": staged["peak_mb"], "staged edges": staged["edges"]}
            row["times"] = staged["step"] / folded["step"]
        rounds.append(row)
    return rounds


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median over rounds of every number."""
    return {name: median(row[name] for row in rows) for name in rows[0]}


def steps_table(found: dict[Case, dict[str, float]]) -> Table:
    """Return the table of steps."""
    table = Table(title="silicon in LAMMPS, one thread: CPU ms per step, peak memory")
    headings = "layers atoms bare folded alone beyond ratio budget met staged".split()
    headings += ["staged / folded", "MB bare", "folded", "staged"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for case, row in found.items():
        is_met = row["beyond"] <= _MS if case.n_atoms <= _SMALL else row["ratio"] <= 1 + _PART
        has_staged = "staged" in row
        table.add_row(
            str(case.n_layers),
            str(case.n_atoms),
            *(f"{row[name]:.2f}" for name in ("bare", "folded", "alone", "beyond")),
            f"{row['ratio']:.3f}",
            case.budget,
            "yes" if is_met else "no",
            f"{row['staged']:.0f}" if has_staged else "-",
            f"{row['times']:.1f}" if has_staged else "-",
            *(f"{row[name]:.0f}" for name in ("bare MB", "folded MB")),
            f"{row['staged MB']:.0f}" if has_staged else "-",
        )
    return table


def parts_table(found: dict[Case, dict[str, float]]) -> Table:
    """Return the table of where the time beyond the bare model goes."""
    table = Table(title="what the driver adds: CPU ms")
    for heading in ("layers", "atoms", "edges folded", "edges staged", "before model", "around it", "shim", "sum"):
        table.add_column(heading, justify="right")
    for case, row in found.items():
        table.add_row(
            str(case.n_layers),
            str(case.n_atoms),
            f"{row['edges']:.0f}",
            f"{row['staged edges']:.0f}" if "staged edges" in row else "-",
            *(f"{row[name]:.2f}" for name in ("before", "around", "shim", "beyond")),
        )
    return table


def draw(found: dict[Case, dict[str, float]], path: Path) -> None:
    """Draw the time of a step against the number of layers, of the smallest system."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "kim-torchml", "font.size": 11}
    import matplotlib.pyplot as plt

    cells = min(case.cells for case in found)
    rows = {case.n_layers: row for case, row in sorted(found.items(), key=lambda each: each[0].n_layers)
            if case.cells == cells}  # fmt: skip
    figure, axis = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    staged = {n: row.get("staged", row["folded"] if n == 1 else None) for n, row in rows.items()}
    staged = {n: time for n, time in staged.items() if time is not None}
    axis.plot(list(staged), list(staged.values()), "s-", color="#c2410c", label="staged: an image is a row of its own")
    folded = [row["folded"] for row in rows.values()]
    axis.plot(list(rows), folded, "o-", color="#1d4ed8", label="folded: an image is its owner")
    axis.set(xlabel="layers", ylabel="CPU time per step (ms)", yscale="log", xticks=list(rows))
    axis.set_title(f"{8 * cells**3} atoms of silicon in LAMMPS, cutoff {CUTOFF:g} Å, one thread", fontsize=11)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", type=int, default=[3, 5], help="numbers of layers")
    parser.add_argument("--cells", nargs="+", type=int, default=[2, 3, 5, 8], help="cubic cells along each edge")
    parser.add_argument("--steps", type=int, default=20, help="steps of each folded run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case (default: %(default)s)")
    parser.add_argument("--most-edges", type=float, default=5e5, help="of a staged run (default: %(default)g)")
    parser.add_argument("--compile", action="store_true", help="compile the models first (a minute each)")
    parser.add_argument("--plot", type=Path, help="an SVG file for a picture of time against layers")
    options = parser.parse_args()
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("installing"):
            benchmark = Benchmark(Path(folder), options.layers, options.compile)
        cases = [Case(n_layers, cells) for n_layers in options.layers for cells in options.cells]
        found = {case: medians(measure_case(benchmark, case, options)) for case in track(cases, "LAMMPS")}
    console.print(steps_table(found))
    console.print(parts_table(found))
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
