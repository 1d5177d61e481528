# SPDX-License-Identifier: LGPL-2.1-or-later
"""CPU time of the driver in LAMMPS beside the bare model's, on the same inputs at the same time, one thread.

    .venv/bin/python tests/benchmark/lammps.py [--sizes 2 3 5 8] [--models NAME ..] [--runs N]

Columns: CPU time of a step of LAMMPS; that of the bare model's forward and backward (of a Descriptor model the
network's alone, without the descriptor); their ratio and difference; time that the driver spends before the model
(neighbour lists, edges, tensors) and outside Model.compute (LAMMPS, KIM, the shim); peak memory of the process (that of
importing torch alone is printed below); time from the start of LAMMPS to the end of the first compute. Times are
medians over steps, and of them over runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

_INPUT = """
units metal
atom_style atomic
kim init {model} metal
lattice diamond 5.431
region box block 0 {cells} 0 {cells} 0 {cells}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
kim interactions Si
velocity all create 600 2026
fix integrate all nve
timestep 0.001
{commands}
run {steps}
"""


def find_models(names: list[str]) -> list[str]:
    """Return those of the models that are installed, the example models and the published ones by default."""
    listed = subprocess.run(["kim-api-collections-management", "list"], capture_output=True, text=True, check=True)
    installed = {line.strip() for line in listed.stdout.splitlines()}
    return [name for name in names if name in installed]


def input_of(model: str, cells: int, steps: int, commands: str = "") -> str:
    """Return LAMMPS' input, with more commands before the run."""
    return _INPUT.format(model=model, cells=cells, steps=steps, commands=commands)


def measure_file(model: str, cells: int, steps: int, commands: str = "", **variables: str) -> dict[str, dict]:
    """Run LAMMPS once, with more commands before the run; return what the recorder has written."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "times.json"
        (Path(folder) / "in.benchmark").write_text(input_of(model, cells, steps, commands))
        environment = os.environ | {
            "KIM_TORCHML_BENCHMARK": str(record),
            "PYTHONPATH": str(HERE / "recorder"),
            "OMP_NUM_THREADS": "1",
            "KIM_MODEL_ELEMENTS_MAP": "1",
            "KIM_TORCHML_QUIET": "1",
            **variables,
        }
        run = subprocess.run(
            ["lmp", "-in", "in.benchmark"], cwd=folder, env=environment, capture_output=True, text=True
        )
        if run.returncode != 0:
            sys.exit(f"LAMMPS failed with {model}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
        recorded: dict[str, dict] = json.loads(record.read_text())
    return recorded


def measure(model: str, cells: int, steps: int, commands: str = "", **variables: str) -> dict[str, float]:
    """Run LAMMPS once, with more commands before the run; return CPU times in ms, memory in MB, and numbers."""
    data = measure_file(model, cells, steps, commands, **variables)
    times, facts = data["times"], data["facts"]
    # Step 0 belongs to the set-up. Where other work comes and goes on the machine, the ratio in pairs is steadier.
    step, compute, build, bare, check = (
        1000 * median(times[name][1:]) for name in ("step", "compute", "build", "bare", "check")
    )
    return {
        "step": step,
        "bare": bare,
        "ratio": step / bare,
        "ratio in pairs": median(a / b for a, b in zip(times["step"][1:], times["bare"][1:], strict=True)),
        "beyond": step - bare,
        "before": build,
        "check": check,
        "outside": step - compute,
        "peak": facts["peak_mb"],
        "start": facts["first_compute_s"],
        "CPU start": facts["first_compute_cpu_s"],
        "rows": facts["rows"],
        "edges": facts["edges"],
    }


def measure_often(model: str, cells: int, steps: int, runs: int) -> dict[str, float]:
    """Return medians of what `measure` returns."""
    rows = [measure(model, cells, steps) for _ in range(runs)]
    return {name: median(row[name] for row in rows) for name in rows[0]}


def torch_import_memory() -> float:
    """Return the peak memory of a Python that only imports torch, MB."""
    code = "import resource, torch; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ["TorchMLModel1_SW", "TorchMLModel2_Desc", "TorchMLModel3_Graph"]
    known += ["TorchML_StillingerWeber_Si", "TorchML_Descriptor_Si", "TorchML_Graph_Si"]
    parser.add_argument(
        "--models", nargs="+", default=known, help="KIM models (default: those installed of %(default)s)"
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 3, 5, 8], help="cubic cells along each edge")
    parser.add_argument("--steps", type=int, default=30, help="steps of each run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="runs of each model and size (default: %(default)s)")
    options = parser.parse_args()
    table = Table(title="driver in LAMMPS, one thread; CPU time in ms per step")
    for heading in (
        "model",
        "atoms",
        "step",
        "bare model",
        "ratio",
        "beyond",
        "before model",
        "outside",
        "peak MB",
        "start s",
    ):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    console = Console(width=130)
    for model in find_models(options.models):
        for cells in options.sizes:
            with console.status(f"{model}, {8 * cells**3} atoms"):
                row = measure_often(model, cells, options.steps, options.runs)
            table.add_row(
                model,
                str(8 * cells**3),
                f"{row['step']:.2f}",
                f"{row['bare']:.2f}",
                f"{row['ratio']:.3f}",
                f"{row['beyond']:.2f}",
                f"{row['before']:.2f}",
                f"{row['outside']:.2f}",
                f"{row['peak']:.0f}",
                f"{row['start']:.1f}",
            )
    console.print(table)
    console.print(f"import torch alone: {torch_import_memory():.0f} MB")


if __name__ == "__main__":
    main()
