# SPDX-License-Identifier: LGPL-2.1-or-later
"""The edges example in LAMMPS as a program of torch.export (.pt2) and as TorchScript (.pt), in turns, one thread.

    .venv/bin/python tests/benchmark/formats.py [--sizes 2 3 5 8] [--steps N] [--runs N]

The driver of this checkout and both models are installed into a KIM collection in a temporary folder. Steps: CPU time
of a step of LAMMPS, the median over steps, and of that over runs; the ratio of each run to the one beside it; the peak
memory of the process; and the time from the start of LAMMPS to the end of the first compute. Loading: CPU time in a
process that has imported the driver's modules, of reading the model and of the probes before the first compute.
"""

import argparse
import os
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
MODELS = {".pt": SCRIPTED, ".pt2": EDGES}

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
    return folders


def load_times(folder: Path, suffix: str) -> list[float]:
    """Return CPU times in ms: of reading the model, and of its probes."""
    command = [sys.executable, "-c", _LOAD, str(folder), "model.toml", f"model{suffix}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KIM_TORCHML_QUIET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [1000 * float(each) for each in done.stdout.split()]


def loading_table(folders: dict[str, Path], runs: int) -> Table:
    """Return the table of load times."""
    found: dict[str, list[list[float]]] = {suffix: [] for suffix in folders}
    for _ in range(runs):
        for suffix, folder in folders.items():
            found[suffix].append(load_times(folder, suffix))
    table = Table("file", "kB", "reading ms", "probes ms", title="loading: CPU time")
    for suffix, rows in found.items():
        size = (folders[suffix] / f"model{suffix}").stat().st_size / 1e3
        table.add_row(suffix, f"{size:.0f}", *(f"{median(column):.1f}" for column in zip(*rows, strict=True)))
    return table


def steps_table(sizes: list[int], steps: int, runs: int) -> Table:
    """Return the table of steps of LAMMPS."""
    table = Table(title="the edges example in LAMMPS, one thread; CPU time in ms per step")
    for heading in ("atoms", "rows", "edges", ".pt ms", ".pt2 ms", "ratio", "peak MB", "start s"):
        table.add_column(heading, justify="right")
    turns = [(cells, suffix) for cells in sizes for _ in range(runs) for suffix in MODELS]
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for cells, suffix in track(turns, "LAMMPS"):
        found.setdefault((cells, suffix), []).append(measure(MODELS[suffix], cells, steps))
    for cells in sizes:
        pairs = [[row[key] for row in found[cells, suffix]] for key in ("step", "peak", "start") for suffix in MODELS]
        scripted, exported, *others = pairs
        ratio = median(ours / theirs for theirs, ours in zip(scripted, exported, strict=True))
        peaks, starts = others[:2], others[2:]
        facts = found[cells, ".pt2"][0]
        table.add_row(
            str(8 * cells**3),
            *(f"{facts[key]:.0f}" for key in ("rows", "edges")),
            *(f"{median(each):.2f}" for each in (scripted, exported)),
            f"{ratio:.3f}",
            " / ".join(f"{median(each):.0f}" for each in peaks),
            " / ".join(f"{median(each):.1f}" for each in starts),
        )
    return table


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 3, 5, 8], help="cubic cells along each edge")
    parser.add_argument("--steps", type=int, default=30, help="steps of each run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each format and size (default: %(default)s)")
    options = parser.parse_args()
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("installing the driver and two models"):
            folders = install(Path(folder))
        console.print(steps_table(options.sizes, options.steps, options.runs))
        console.print(loading_table(folders, options.runs))


if __name__ == "__main__":
    main()
