# SPDX-License-Identifier: LGPL-2.1-or-later
"""Creating, computing with and destroying the model again and again does not make the process grow.

OpenKIM's check runs the model under valgrind once and counts the memory that is not freed. Python and torch keep memory
for good, too, which cannot be told from a leak of the model. So this check watches the memory over many cycles: only a
leak grows.
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
from kim_torchml.tools.verification.model_under_test import ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome

WARM_UP = 100
WINDOWS = 5
# Cycles in each window. A slow model gets fewer of them, so that all take about SECONDS together.
MOST_CYCLES = 200
FEWEST_CYCLES = 40
SECONDS = 3.0
# Samples in each window.
SAMPLES = 60
# Bytes for each cycle. Allocated memory is known to the byte, and malloc gives out no less than 32 bytes at a time;
# resident memory is known in pages of 4096 bytes.
LIMITS = {"allocated": 16.0, "resident": 256.0}
WATCHED = {"allocated": allocated_bytes, "resident": resident_bytes}


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Watch memory over five windows of cycles; if it grows in lumps only, repeat that."""
    if resident_bytes() is None:
        return CheckOutcome(NOT_APPLICABLE, None, f"needs {RESIDENT} (Linux) for the memory of this process.")
    particles, outputs = _work(under_test)
    per_window = _warm_up(under_test.name, particles, outputs)
    # Objects that exist already, most of them torch's, need not be searched for garbage in each collection.
    gc.collect()
    gc.freeze()
    samples = _watch(under_test, particles, outputs, per_window)
    growth = {name: growth_of(samples, name) for name in samples if name != "cycles"}
    if any(found.in_lumps(LIMITS[name]) for name, found in growth.items()):
        # Memory that was allocated late, but only once, does not grow again.
        again = _watch(under_test, particles, outputs, per_window)
        for name, found in growth.items():
            if found.in_lumps(LIMITS[name]):
                growth[name] = replace(growth_of(again, name), windows=found.windows)
        samples = _joined(samples, again)
    return _outcome(samples, growth)


def _work(under_test: ModelUnderTest) -> tuple[KimParticles, tuple[str, ...]]:
    """Return the particles and the outputs that each cycle computes."""
    species = under_test.mixture
    piece = crystal("bcc", (2, 1, 1), under_test.nearest("bcc", species), species, under_test.random("memory-leak"))
    return under_test.particles(piece), under_test.outputs


def _cycle(name: str, particles: KimParticles, outputs: tuple[str, ...]) -> None:
    """Create the model, compute twice, destroy it."""
    model = KimModel(name)
    model.compute(particles, outputs)
    model.compute(particles, outputs)


def _warm_up(name: str, particles: KimParticles, outputs: tuple[str, ...]) -> int:
    """Run cycles until memory that is allocated only once has been; return how many cycles fit into a window."""
    started, cycles = time.monotonic(), 0
    while cycles < WARM_UP and (time.monotonic() - started < SECONDS or cycles < FEWEST_CYCLES):
        _cycle(name, particles, outputs)
        cycles += 1
    per_cycle = (time.monotonic() - started) / cycles
    return int(np.clip(SECONDS / WINDOWS / per_cycle, FEWEST_CYCLES, MOST_CYCLES))


def _watch(
    under_test: ModelUnderTest, particles: KimParticles, outputs: tuple[str, ...], per_window: int
) -> dict[str, Floats]:
    """Run all windows; return the index of the cycle of each sample, and each measure of memory there, bytes."""
    watched = {name: measure for name, measure in WATCHED.items() if measure() is not None}
    count = WINDOWS * per_window
    at = np.arange(0, count, max(1, per_window // SAMPLES))
    # These arrays are made beforehand, because the samples themselves must not make the process grow.
    samples = {"cycles": at.astype(np.float64)} | {name: np.zeros(len(at)) for name in watched}
    taken = 0
    for index in range(count):
        _cycle(under_test.name, particles, outputs)
        if index == at[min(taken, len(at) - 1)]:
            gc.collect()
            for name, measure in watched.items():
                samples[name][taken] = measure()
            taken += 1
            under_test.progress((index + 1) / count)
    return samples


def _joined(first: dict[str, Floats], second: dict[str, Floats]) -> dict[str, Floats]:
    """Return the samples of two runs, one after the other."""
    later = second | {"cycles": second["cycles"] + first["cycles"][-1] + 1.0}
    return {name: np.concatenate([first[name], later[name]]) for name in first}


@dataclass(frozen=True)
class Growth:
    """How fast a measure of memory grows, bytes for each cycle.

    Attributes:
        whole: slope of a line through all samples.
        windows: slope in each window.
    """

    whole: float
    windows: list[float]

    @property
    def steady(self) -> float:
        """Median of the windows' slopes: growth in most of the windows."""
        return float(np.median(self.windows))

    def in_lumps(self, limit: float) -> bool:
        """Return whether it grows beyond a limit in some windows, but not in most."""
        return self.steady <= limit < self.whole

    @property
    def greatest(self) -> float:
        """The greater of both slopes, but no less than 0: if nothing grows, a line may fall a little."""
        return max(0.0, self.whole, self.steady)


def growth_of(samples: dict[str, Floats], name: str) -> Growth:
    """Return the growth of one measure (bytes) over `cycles`, both of them in the samples."""
    cycles, memory = samples["cycles"], samples[name]
    windows = zip(np.array_split(cycles, WINDOWS), np.array_split(memory, WINDOWS), strict=True)
    return Growth(_slope(cycles, memory), [_slope(*window) for window in windows])


def _slope(cycles: Floats, memory: Floats) -> float:
    return float(np.polyfit(cycles, memory, 1)[0])


def _outcome(samples: dict[str, Floats], growth: dict[str, Growth]) -> CheckOutcome:
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
        return CheckOutcome(FAILED, error, f"{comment} ({count} cycles; {grown[0]} memory).", details)
    error = growth[next(iter(growth))].greatest
    limits = " and ".join(f"{LIMITS[name]:.0f} bytes {name}" for name in growth)
    comment = f"No growth over {count} times create, compute, destroy: at most {limits} a cycle"
    return CheckOutcome(PASSED, error, f"{comment} (OpenKIM: valgrind).", details)


CHECK = Check("memory-leak", run, alone=True)
