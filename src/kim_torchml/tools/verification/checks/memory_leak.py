# SPDX-License-Identifier: LGPL-2.1-or-later
"""Creating, computing with and destroying the model again and again does not make the process grow.

OpenKIM's check runs the model under valgrind once and counts what is not freed. That cannot be told apart from what
Python and torch keep for good, so here memory is watched over many cycles instead: what leaks grows.
"""

import gc
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import KimModel
from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.verification.allocated import RESIDENT, allocated_bytes, resident_bytes
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.grades import FAILED, NOT_APPLICABLE, PASSED
from kim_torchml.tools.verification.model_under_test import Bench
from kim_torchml.tools.verification.result import Finding

WARM_UP = 100
WINDOWS = 5
# Cycles in each window; of a slow model fewer, so that it takes about this many seconds in all.
MOST_CYCLES = 200
FEWEST_CYCLES = 40
SECONDS = 3.0
SAMPLES = 60  # in a window
# Bytes by cycle. What malloc has given out is known to the byte, and it gives out no less than 32; resident memory is
# known in pages of 4096.
LIMITS = {"allocated": 16.0, "resident": 256.0}
WATCHED = {"allocated": allocated_bytes, "resident": resident_bytes}


def run(bench: Bench) -> Finding:
    """Watch memory over five windows of cycles; if it grew in lumps only, over as many again."""
    if resident_bytes() is None:
        return Finding(NOT_APPLICABLE, None, f"needs {RESIDENT} (Linux) for the memory of this process.")
    particles, outputs = _work(bench)
    per_window = _warm_up(bench.name, particles, outputs)
    # What has been made so far, torch above all, need not be searched again and again for garbage.
    gc.collect()
    gc.freeze()
    samples = _watch(bench, particles, outputs, per_window)
    growth = {name: growth_of(samples, name) for name in samples if name != "cycles"}
    if any(found.in_lumps(LIMITS[name]) for name, found in growth.items()):
        # Something that is allocated late, once, does not come again.
        again = _watch(bench, particles, outputs, per_window)
        for name, found in growth.items():
            if found.in_lumps(LIMITS[name]):
                growth[name] = replace(growth_of(again, name), windows=found.windows)
        samples = _joined(samples, again)
    return _finding(samples, growth)


def _work(bench: Bench) -> tuple[KimParticles, tuple[str, ...]]:
    """Return what each cycle computes."""
    species = bench.mixture
    piece = crystal("bcc", (2, 1, 1), bench.nearest("bcc", species), species, bench.random("memory-leak"))
    return bench.particles(piece), bench.outputs


def _cycle(name: str, particles: KimParticles, outputs: tuple[str, ...]) -> None:
    """Create the model, compute twice, destroy it."""
    model = KimModel(name)
    model.compute(particles, outputs)
    model.compute(particles, outputs)


def _warm_up(name: str, particles: KimParticles, outputs: tuple[str, ...]) -> int:
    """Run cycles until what is allocated once has been; return how many fit into a window."""
    started, cycles = time.monotonic(), 0
    while cycles < WARM_UP and (time.monotonic() - started < SECONDS or cycles < FEWEST_CYCLES):
        _cycle(name, particles, outputs)
        cycles += 1
    per_cycle = (time.monotonic() - started) / cycles
    return int(np.clip(SECONDS / WINDOWS / per_cycle, FEWEST_CYCLES, MOST_CYCLES))


def _watch(bench: Bench, particles: KimParticles, outputs: tuple[str, ...], per_window: int) -> dict[str, Floats]:
    """Run all windows; return the number of cycles done at each sample, and each measure of memory then, bytes."""
    watched = {name: measure for name, measure in WATCHED.items() if measure() is not None}
    count = WINDOWS * per_window
    at = np.arange(0, count, max(1, per_window // SAMPLES))
    # Made beforehand: the samples themselves must not make the process grow.
    samples = {"cycles": at.astype(np.float64)} | {name: np.zeros(len(at)) for name in watched}
    taken = 0
    for index in range(count):
        _cycle(bench.name, particles, outputs)
        if index == at[min(taken, len(at) - 1)]:
            gc.collect()
            for name, measure in watched.items():
                samples[name][taken] = measure()
            taken += 1
            bench.progress((index + 1) / count)
    return samples


def _joined(first: dict[str, Floats], second: dict[str, Floats]) -> dict[str, Floats]:
    """Return the samples of two runs, one after the other."""
    later = second | {"cycles": second["cycles"] + first["cycles"][-1] + 1.0}
    return {name: np.concatenate([first[name], later[name]]) for name in first}


@dataclass(frozen=True)
class Growth:
    """How fast a measure of memory grows, bytes by cycle.

    Attributes:
        whole: The slope of a line through all samples.
        windows: The slope in each window.
    """

    whole: float
    windows: list[float]

    @property
    def steady(self) -> float:
        """The median of the windows': what grows in each."""
        return float(np.median(self.windows))

    def in_lumps(self, limit: float) -> bool:
        """Return whether it grows beyond a limit in some windows, but not in most."""
        return self.steady <= limit < self.whole

    @property
    def greatest(self) -> float:
        """The greater of both, and where nothing grows, 0: a line may fall a little."""
        return max(0.0, self.whole, self.steady)


def growth_of(samples: dict[str, Floats], name: str) -> Growth:
    """Return the growth of one measure; samples: `cycles`, and the measure in bytes."""
    cycles, memory = samples["cycles"], samples[name]
    windows = zip(np.array_split(cycles, WINDOWS), np.array_split(memory, WINDOWS), strict=True)
    return Growth(_slope(cycles, memory), [_slope(*window) for window in windows])


def _slope(cycles: Floats, memory: Floats) -> float:
    return float(np.polyfit(cycles, memory, 1)[0])


def _finding(samples: dict[str, Floats], growth: dict[str, Growth]) -> Finding:
    cycles = samples["cycles"]
    count = int(cycles[-1]) + 1
    details: dict[str, Any] = {
        "cycles": cycles.astype(int).tolist(),
        "growth": {name: {"whole": found.whole, "windows": found.windows} for name, found in growth.items()},
        "limits": {name: LIMITS[name] for name in growth},
        "note": "OpenKIM's check counts what valgrind finds unfreed; this one watches the memory of a process.",
    }
    details |= {f"{name} KiB": (samples[name] / 1024.0).round(3).tolist() for name in growth}
    grown = [name for name, found in growth.items() if found.greatest > LIMITS[name]]
    if grown:
        error = growth[grown[0]].greatest
        how = ", in lumps," if growth[grown[0]].in_lumps(LIMITS[grown[0]]) else ""
        comment = f"The process grows by {error:.0f} bytes{how} with every create, compute and destroy"
        return Finding(FAILED, error, f"{comment} ({count} cycles; {grown[0]} memory).", details)
    error = growth[next(iter(growth))].greatest
    limits = " and ".join(f"{LIMITS[name]:.0f} bytes {name}" for name in growth)
    comment = f"No growth over {count} times create, compute, destroy: at most {limits} a cycle"
    return Finding(PASSED, error, f"{comment} (OpenKIM: valgrind).", details)


CHECK = Check("memory-leak", run, alone=True)
