# SPDX-License-Identifier: LGPL-2.1-or-later
"""The edges example in LAMMPS as TorchScript (.pt), as a program of torch.export (.pt2), and compiled; in turns.

    .venv/bin/python tests/benchmark/formats.py [--sizes 2 3 5 8] [--steps N] [--runs N]

The driver of this checkout and both models are installed into a KIM collection in a temporary folder, which has the
cache of compiled programs too. Everything has one thread. Steps: CPU time of a step of LAMMPS, the median over steps,
and of that over runs; how many times faster than TorchScript the others are, by the run beside each; the share of a
compiled step that looking at its inputs takes; the peak memory of the process; and the CPU time from the start of
LAMMPS to the end of the first compute. Compiling: CPU time, and the peak memory of the largest process. Loading: CPU
time in a process that has imported the driver's modules, of reading the model, the compiled one from a warm cache, and
of the probes before the first compute.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from lammps import measure
from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from example_models import EDGES  # noqa: E402
from exported_models import EDGES_EXAMPLE, example_network, save  # noqa: E402
from kim_collection import KimCollection, export_sources  # noqa: E402

SCRIPTED = "Benchmark_EdgesScripted"
# How a model is run: its KIM id, and KIM_TORCHML_COMPILE.
WAYS = {".pt": (SCRIPTED, "never"), ".pt2": (EDGES, "never"), "compiled": (EDGES, "cached")}

_LOAD = """
import sys, time
from kim_torchml.driver import open_model
import kim_torchml.driver.model
folder, *files = sys.argv[1:]
begin = time.process_time()
model = open_model(folder, files)
opened = time.process_time()
model.prepare()
print(opened - begin, time.process_time() - opened)
"""


def install(folder: Path) -> dict[str, Path]:
    """Install the driver and both models into a collection that this process uses from now on; return their folders."""
    collection = KimCollection(folder / "collection")
    sources = folder / "export"
    sources.mkdir()
    collection.install(export_sources(sources), KIM_TORCHML_PYTHON=sys.executable)
    folders = {".pt": folder / SCRIPTED, ".pt2": EDGES_EXAMPLE}
    save(SCRIPTED, example_network(), "pt", folders[".pt"])
    for each in folders.values():
        collection.install(each)
    os.environ["KIM_API_CONFIGURATION_FILE"] = collection.environment["KIM_API_CONFIGURATION_FILE"]
    os.environ["KIM_TORCHML_CACHE"] = str(folder / "cache")
    return folders | {"compiled": folders[".pt2"]}


def compile_edges() -> str:
    """Compile the example; return what that took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "kim_torchml", "compile", EDGES]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"compiling failed:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"compiling: {seconds:.0f} s of CPU, peak {after.ru_maxrss / 1024:.0f} MB; {done.stdout.splitlines()[0]}"


def load_times(folder: Path, way: str) -> list[float]:
    """Return CPU times in ms: of reading the model, and of its probes."""
    command = [sys.executable, "-c", _LOAD, str(folder), "model.toml", file_of(way)]
    settings = {"OMP_NUM_THREADS": "1", "KIM_TORCHML_QUIET": "1", "KIM_TORCHML_COMPILE": WAYS[way][1]}
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    return [1000 * float(each) for each in done.stdout.split()]


def file_of(way: str) -> str:
    """Return the name of the model file."""
    return "model.pt" if way == ".pt" else "model.pt2"


def loading_table(folders: dict[str, Path], runs: int) -> Table:
    """Return the table of load times."""
    found: dict[str, list[list[float]]] = {way: [] for way in folders}
    for _ in range(runs):
        for way, folder in folders.items():
            found[way].append(load_times(folder, way))
    table = Table("", "kB", "reading ms", "probes ms", title="loading: CPU time")
    for way, rows in found.items():
        size = (folders[way] / file_of(way)).stat().st_size / 1e3
        table.add_row(way, f"{size:.0f}", *(f"{median(column):.1f}" for column in zip(*rows, strict=True)))
    return table


def steps_table(sizes: list[int], steps: int, runs: int) -> Table:
    """Return the table of steps of LAMMPS."""
    table = Table(title="the edges example in LAMMPS, one thread; .pt / .pt2 / compiled")
    headings = ("atoms", "rows", "edges", "CPU ms per step", "times faster", "checks", "peak MB", "CPU s to step 1")
    for heading in headings:
        table.add_column(heading, justify="right")
    turns = [(cells, way) for cells in sizes for _ in range(runs) for way in WAYS]
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for cells, way in track(turns, "LAMMPS"):
        name, word = WAYS[way]
        found.setdefault((cells, way), []).append(measure(name, cells, steps, KIM_TORCHML_COMPILE=word))
    for cells in sizes:
        of_ways = [found[cells, way] for way in WAYS]
        faster = [
            median(theirs["step"] / ours["step"] for theirs, ours in zip(of_ways[0], each, strict=True))
            for each in of_ways[1:]
        ]
        facts = of_ways[1][0]
        table.add_row(
            str(8 * cells**3),
            *(f"{facts[key]:.0f}" for key in ("rows", "edges")),
            medians(of_ways, "step", 1),
            " / ".join(f"{each:.2f}" for each in faster),
            f"{100 * median(row['check'] / row['step'] for row in of_ways[-1]):.2f} %",
            medians(of_ways, "peak", 0),
            medians(of_ways, "CPU start", 2),
        )
    return table


def medians(of_ways: list[list[dict[str, float]]], key: str, digits: int) -> str:
    """Return the median over runs of one number, for each way."""
    return " / ".join(f"{median(row[key] for row in rows):.{digits}f}" for rows in of_ways)


def main() -> None:
    """Print what compiling takes, and the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 3, 5, 8], help="cubic cells along each edge")
    parser.add_argument("--steps", type=int, default=30, help="steps of each run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each way and size (default: %(default)s)")
    options = parser.parse_args()
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("installing the driver and two models"):
            folders = install(Path(folder))
        with console.status("compiling"):
            console.print(compile_edges())
        console.print(steps_table(options.sizes, options.steps, options.runs))
        console.print(loading_table(folders, options.runs))


if __name__ == "__main__":
    main()
