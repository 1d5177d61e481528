# SPDX-License-Identifier: LGPL-2.1-or-later
"""Exported programs: opening one beside torch's own loader, and running one beside TorchScript, in this process.

    .venv/bin/python tests/benchmark/exported.py [--repeats N]

Opening: CPU time for a generated program of 1,410 nodes. Running: CPU time of energies and gradient of a network of
three layers as .pt2 and as TorchScript, in turns, and the median of their ratio; one thread.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from exporting import exported_bytes, loaded_by_torch
from models import Edges3, script_bytes
from program_files import CPU, inputs_of, layered_program, opened, saved_inputs, signature_of

from kim_torchml.engines import open_program

SIZES = ((333, 1616), (730, 3922), (2284, 13562), (7213, 46786))


def cpu_time(function, *arguments) -> float:
    """Return the CPU time of a call, s."""
    started = time.process_time()
    function(*arguments)
    return time.process_time() - started


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30, help="runs of each program and size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    program = layered_program(200)
    program.entries["data/sample_inputs/model.pt"] = saved_inputs(*inputs_of(5, 9).arguments)
    content = program.content()
    opened(content)
    table = Table("reader", "CPU s", title=f"opening {len(program.nodes)} nodes, {len(content) / 1e3:.0f} kB")
    table.add_row("kim-torchml", f"{median(cpu_time(opened, content) for _ in range(5)):.3f}")
    table.add_row("torch.export.load", f"{cpu_time(loaded_by_torch, content):.3f}")
    Console().print(table)

    exported = opened(exported_bytes(Edges3))
    scripted = open_program(script_bytes(Edges3), "model.pt", CPU, signature_of())
    table = Table("rows", "edges", "TorchScript ms", ".pt2 ms", "ratio", title="energies and gradient, three layers")
    for rows, edges in SIZES:
        inputs = inputs_of(rows, edges)
        turns = [
            [cpu_time(each.run, inputs, True) for each in (scripted, exported)] for _ in range(options.repeats + 5)
        ]
        times = [median(column) for column in zip(*turns[5:], strict=True)]
        ratio = median(ours / theirs for theirs, ours in turns[5:])
        table.add_row(str(rows), str(edges), *(f"{1e3 * each:.2f}" for each in times), f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
