# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example models through KIM on a CPU (one thread) and on a GPU: wall time of a step, and how far results differ.

    .venv/bin/python tests/benchmark/cuda.py [--cells 2 3 5] [--devices cpu cuda] [--seconds 2] [--compiled]

For the edges example with 4,096 and 32,768 atoms on a GPU, compiled and not:

    .venv/bin/python tests/benchmark/cuda.py --models TorchML_Edges_Si --cells 8 16 --devices cuda --compiled

The driver of this checkout and its example models are installed into a KIM collection in a temporary folder, or with
--installed taken from the user's own. With --compiled, models of .pt2 files run compiled too, out of a cache in a
temporary folder; compiling is a part of the first compute of the first size. The particles are rattled periodic
silicon; a step is one compute of energy and forces through kimpy, with the same neighbour lists each time. Columns:
atoms and particles (with images), best and median wall time of a step, the share of it that the driver itself takes
outside the model's forward and gradient (as KIM_TORCHML_PROFILE tells it, which waits for the GPU at the end of each
part), the first compute, and the largest differences from the first device.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "integration"))

from ase.build import bulk  # noqa: E402
from configurations import Configuration, of_atoms  # noqa: E402
from example_models import EDGES, EXAMPLES  # noqa: E402
from kim_collection import KimCollection, export_sources  # noqa: E402
from kimpy_host import KimpyModel  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

_LEAST_STEPS = 3
_MOST_STEPS = 200
_LINE = re.compile(r" +(model, forward|model, gradient|outside of the driver|a step) +([0-9.]+) ms")


@dataclass(frozen=True)
class Times:
    """What one model takes with one configuration on one device; times in ms.

    Attributes:
        energy: energy, eV.
        forces: forces on all particles, shape [n, 3], eV/Å.
        first: first compute.
        steps: each of the other computes.
        share: share of a step that the driver takes outside the model, 0 to 1.
    """

    energy: float
    forces: np.ndarray
    first: float
    steps: list[float]
    share: float


def configuration_of(cells: int, reach: float) -> Configuration:
    """Return silicon of 8 cells**3 atoms, with its images within a distance, Å."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.1, seed=3)
    return of_atoms(atoms, reach)


def milliseconds(function, *arguments) -> float:
    """Return the wall time of a call."""
    started = time.perf_counter()
    function(*arguments)
    return 1e3 * (time.perf_counter() - started)


def several(function, seconds: float, *arguments) -> list[float]:
    """Return the times of calls, as many as fit into some seconds."""
    times: list[float] = []
    while len(times) < _LEAST_STEPS or (sum(times) < 1e3 * seconds and len(times) < _MOST_STEPS):
        times.append(milliseconds(function, *arguments))
    return times


@contextmanager
def stderr_in(path: Path) -> Iterator[None]:
    """Send what this process writes to standard error into a file."""
    kept = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def share_outside_of_model(name: str, configuration: Configuration, seconds: float, table: Path) -> float:
    """Return the share of the driver's time that is neither the model's forward nor its gradient."""
    os.environ["KIM_TORCHML_PROFILE"] = "1"
    try:
        with stderr_in(table):
            step = Step(KimpyModel(name), configuration)
            several(step, seconds / 2)
            # The model tells its profile when it is destroyed.
            del step
    finally:
        del os.environ["KIM_TORCHML_PROFILE"]
    found = {match[1]: float(match[2]) for match in map(_LINE.match, table.read_text().splitlines()) if match}
    inside = found["a step"] - found["outside of the driver"]
    return 1.0 - (found["model, forward"] + found["model, gradient"]) / inside


class Step:
    """A compute that can be repeated, with the neighbour lists of the first time."""

    def __init__(self, host: KimpyModel, configuration: Configuration) -> None:
        """Compute for the first time."""
        self._host = host
        # KIM writes into these again, and only borrows them.
        self.energy, self.forces = host.compute(configuration)

    def __call__(self) -> None:
        """Compute once more."""
        self._host.model.compute(self._host.arguments, False)


def measure(name: str, device: str, word: str, configuration: Configuration, seconds: float, folder: Path) -> Times:
    """Return what a model takes on a device, with a word for KIM_TORCHML_COMPILE."""
    os.environ |= {"KIM_MODEL_EXECUTION_DEVICE": device, "KIM_TORCHML_COMPILE": word}
    started = time.perf_counter()
    host = KimpyModel(name)
    step = Step(host, configuration)
    first = 1e3 * (time.perf_counter() - started)
    steps = several(step, seconds)[1:]
    energy, forces = float(step.energy[0]), step.forces
    del host, step
    share = share_outside_of_model(name, configuration, seconds, folder / "profile.txt")
    return Times(energy, forces, first, steps, share)


def words_of(name: str, compiled: bool) -> list[str]:
    """Return the words for KIM_TORCHML_COMPILE that a model is measured with."""
    return ["never", "now"] if compiled and name == EDGES else ["never"]


def run(options: argparse.Namespace) -> None:
    """Print the table, in a process that uses the collection."""
    table = Table(title="one compute through KIM; wall time in ms, one CPU thread")
    for heading in ("model", "device", "atoms", "particles", "best", "median", "outside model", "first", "dE/atom, eV"):
        table.add_column(heading, justify="left" if heading in ("model", "device") else "right")
    table.add_column("dF, eV/Å", justify="right")
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["KIM_TORCHML_CACHE"] = f"{folder}/cache"
        for name in options.models:
            reach = KimpyModel(name).model.get_influence_distance()
            for cells in options.cells:
                configuration, n = configuration_of(cells, reach), 8 * cells**3
                reference = None
                ways = [(device, word) for device in options.devices for word in words_of(name, options.compiled)]
                for device, word in ways:
                    times = measure(name, device, word, configuration, options.seconds, Path(folder))
                    reference = reference or times
                    table.add_row(
                        name,
                        f"{device}, compiled" if word == "now" else device,
                        str(n),
                        str(len(configuration)),
                        f"{min(times.steps):.2f}",
                        f"{median(times.steps):.2f}",
                        f"{100 * times.share:.0f} %",
                        f"{times.first:.0f}",
                        f"{abs(times.energy - reference.energy) / n:.1e}",
                        f"{np.abs(times.forces - reference.forces).max():.1e}",
                    )
    console.print(table)


def main() -> None:
    """Install what is measured, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(EXAMPLES), help="KIM models (default: the examples)")
    parser.add_argument("--cells", nargs="+", type=int, default=[2, 3, 5], help="cubic cells along each edge")
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"], help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for the steps of each (default: %(default)s)")
    parser.add_argument("--installed", action="store_true", help="use the driver and the models that are installed")
    parser.add_argument("--compiled", action="store_true", help="measure compiled programs too")
    options = parser.parse_args()
    if options.installed:
        os.environ |= {"KIM_TORCHML_QUIET": "1", "KIM_TORCHML_THREADS": "1"}
        run(options)
        return
    with tempfile.TemporaryDirectory() as folder, Console().status("installing the driver and its models"):
        collection = KimCollection(Path(folder) / "collection")
        sources = Path(folder) / "export"
        sources.mkdir()
        collection.install(export_sources(sources), KIM_TORCHML_PYTHON=sys.executable)
        for each in EXAMPLES.values():
            collection.install(REPOSITORY / "examples" / each)
        command = [sys.executable, __file__, *sys.argv[1:], "--installed"]
        done = subprocess.run(command, env=collection.environment, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
