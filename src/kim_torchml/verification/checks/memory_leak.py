# SPDX-License-Identifier: LGPL-2.1-or-later
"""Creating, computing with and destroying the model again and again does not make the process grow.

OpenKIM's check runs the model under valgrind once and counts what is not freed. That cannot be told apart from what
Python and torch keep for good, so here the resident memory is watched instead: what leaks grows with every cycle.
"""

import gc
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from kim_torchml.verification.bench import Bench
from kim_torchml.verification.checks.base import Check
from kim_torchml.verification.grades import FAILED, NOT_APPLICABLE, PASSED
from kim_torchml.verification.kim_model import KimModel
from kim_torchml.verification.particles import Particles
from kim_torchml.verification.result import Finding
from kim_torchml.verification.structures import Floats, crystal

MEMORY = Path("/proc/self/statm")
WARM_UP = 100
WINDOWS = 5
# Cycles in each window; of a slow model fewer, so that it takes about this many seconds in all.
MOST_CYCLES = 200
FEWEST_CYCLES = 40
SECONDS = 3.0
# Bytes by cycle. A page is 4096 bytes, so a window of 200 cycles resolves 20.
LIMIT = 256.0


def run(bench: Bench) -> Finding:
    """Fit lines to the resident memory in five windows; their median slope must be below the limit."""
    if not MEMORY.exists():
        return Finding(NOT_APPLICABLE, None, f"needs {MEMORY} (Linux) for the memory of this process.")
    particles, outputs = _work(bench)
    name = bench.name
    per_window = _warm_up(name, particles, outputs)
    # What has been made so far, torch above all, need not be searched again and again for garbage.
    gc.collect()
    gc.freeze()
    samples: list[tuple[int, int]] = []
    count = WINDOWS * per_window
    every = max(1, per_window // 60)
    for index in range(count):
        _cycle(name, particles, outputs)
        if index % every == 0:
            gc.collect()
            samples.append((index, resident_bytes()))
            bench.progress((index + 1) / count)
    return _finding(np.array(samples, dtype=float), count)


def _work(bench: Bench) -> tuple[Particles, tuple[str, ...]]:
    """Return what each cycle computes."""
    piece = crystal("bcc", (2, 1, 1), bench.nearest("bcc", bench.species), bench.species, bench.random("memory-leak"))
    return bench.particles(piece), bench.outputs


def _cycle(name: str, particles: Particles, outputs: tuple[str, ...]) -> None:
    """Create the model, compute twice, destroy it."""
    model = KimModel(name)
    model.compute(particles, outputs)
    model.compute(particles, outputs)


def _warm_up(name: str, particles: Particles, outputs: tuple[str, ...]) -> int:
    """Run cycles until what is allocated once has been; return how many fit into a window."""
    started, cycles = time.monotonic(), 0
    while cycles < WARM_UP and (time.monotonic() - started < SECONDS or cycles < FEWEST_CYCLES):
        _cycle(name, particles, outputs)
        cycles += 1
    per_cycle = (time.monotonic() - started) / cycles
    return int(np.clip(SECONDS / WINDOWS / per_cycle, FEWEST_CYCLES, MOST_CYCLES))


def resident_bytes() -> int:
    """Return this process's resident memory."""
    return int(MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slopes(samples: Floats) -> list[float]:
    """Return the slope in each window, bytes by cycle; samples: shape [n, 2], cycle and bytes."""
    windows = np.array_split(samples, WINDOWS)
    return [float(np.polyfit(window[:, 0], window[:, 1], 1)[0]) for window in windows]


def _finding(samples: Floats, count: int) -> Finding:
    found = slopes(samples)
    growth = float(np.median(found))
    details: dict[str, Any] = {
        "cycles": samples[:, 0].astype(int).tolist(),
        "resident MiB": (samples[:, 1] / 2**20).round(4).tolist(),
        "slopes": [round(slope, 1) for slope in found],
        "limit": LIMIT,
        "note": "OpenKIM's check counts what valgrind finds unfreed; this one watches the process's resident memory.",
    }
    # Where nothing grows, the slope may be a little below zero.
    error = max(0.0, growth)
    if growth > LIMIT:
        comment = f"The process grows by {growth:.0f} bytes with every create, compute and destroy ({count} cycles)."
        return Finding(FAILED, error, comment, details)
    comment = f"No growth over {count} times create, compute, destroy: {error:.0f} bytes a cycle"
    return Finding(PASSED, error, f"{comment}, by resident memory (OpenKIM: valgrind).", details)


CHECK = Check(
    "memory-leak",
    "Resident memory does not grow over create, compute and destroy (OpenKIM's check uses valgrind instead).",
    run,
    alone=True,
)
