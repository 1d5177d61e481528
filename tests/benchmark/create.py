# SPDX-License-Identifier: LGPL-2.1-or-later
"""CPU time of creating a model a second time, beside that of a driver that does nothing, in the same process.

    .venv/bin/python tests/benchmark/create.py [--repeats N]

The models have 450 tensors of 64 entries, all published as KIM parameters. The driver of this checkout, the idle driver
of idle_driver/ and a model for each are installed into a KIM collection in a temporary folder. Simulators create a
model several times before the first step, so what counts is a creation after the first one.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from kim_collection import DRIVER, KimCollection, PortableModel, export_sources  # noqa: E402

IDLE = "Benchmark_IdleDriver"
MODELS = {"kim-torchml": ("Benchmark_Ours", DRIVER), "idle driver": ("Benchmark_Idle", IDLE)}


class ManyTensors(nn.Module):
    """An energy that depends on 450 tensors."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.rand(64, generator=generator, dtype=torch.float64)) for _ in range(450)
        )

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        """Return one energy per particle."""
        energies = coordinates.square().sum(1)
        for weights in self.weights:
            energies = energies + 1e-3 * weights.sum() * coordinates.sum(1)
        return energies


def model_files() -> dict[str, bytes]:
    """Return the parameter files of the model."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(ManyTensors()), buffer)
    return {"kim.param": b"1\nSi\nNone\n3.0\nmodel.pt\nfalse\n5\n", "model.pt": buffer.getvalue()}


def create(name: str) -> float:
    """Create and destroy a model; return the CPU time of it, ms."""
    import kimpy

    units = (kimpy.length_unit.A, kimpy.energy_unit.eV, kimpy.charge_unit.e)
    begin = time.process_time()
    _, model = kimpy.model.create(kimpy.numbering.zeroBased, *units, kimpy.temperature_unit.K, kimpy.time_unit.ps, name)
    del model
    return 1000.0 * (time.process_time() - begin)


def measure(repeats: int) -> None:
    """Print the table, in a process that uses the collection."""
    for name, _ in MODELS.values():
        create(name)
    times: dict[str, list[float]] = {label: [] for label in MODELS}
    for _ in range(repeats):
        for label, (name, _) in MODELS.items():
            times[label].append(create(name))
    table = Table(title="creating a model with 450 tensors again: CPU time, ms")
    table.add_column("driver")
    table.add_column("median", justify="right")
    table.add_column("least", justify="right")
    for label, found in times.items():
        table.add_row(label, f"{median(found):.2f}", f"{min(found):.2f}")
    console = Console()
    console.print(table)
    ours, idle = (median(found) for found in times.values())
    console.print(f"beyond KIM's own: {ours - idle:.2f} ms (ratio {ours / idle:.3f})")


def main() -> None:
    """Install what is compared, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50, help="creations of each model (default: %(default)s)")
    parser.add_argument("--installed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.installed:
        measure(options.repeats)
        return
    with tempfile.TemporaryDirectory() as folder, Console().status("installing two drivers and their models"):
        collection = KimCollection(Path(folder) / "collection")
        sources = Path(folder) / "export"
        sources.mkdir()
        collection.install(export_sources(sources), KIM_TORCHML_PYTHON=sys.executable)
        collection.install(HERE / "idle_driver")
        models = Path(folder) / "models"
        models.mkdir()
        files = model_files()
        collection.install_models([PortableModel(name, files, driver) for name, driver in MODELS.values()], models)
        command = [sys.executable, __file__, "--installed", "--repeats", str(options.repeats)]
        environment = collection.environment | {"KIM_TORCHML_QUIET": "1"}
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    print(done.stdout, end="")
    sys.exit(done.stderr if done.returncode else 0)


if __name__ == "__main__":
    main()
