# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C++ simulator's memory does not grow.

What malloc has allocated and not freed is counted, with malloc in place of Python's own allocator, after Python has
freed garbage and emptied its cache of attributes' names, which fills up for a thousand lives of a model. Resident
memory would not do: for thousands of lives it grows by what is free and touched for the first time. After the warm-up,
a line is fitted in each of nine windows, which overlap by half, and the smallest of the slopes counts: a leak shows in
every window, whereas memory that is allocated late, but only once, shows in few. The limit is half of the smallest
block that malloc gives out, so one forgotten block of any size is too much. That the measurement notices one is tested
too, with bytes that the simulator itself forgets. Resident memory, which holds what is not malloc's, may not grow by a
page each time.
"""

import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from configurations import Configuration, cluster, crystal, mixed, of_atoms
from kim_collection import KimCollection

FILE = "particles.txt"
WINDOWS = 5
PAGE = 4096  # bytes
SMALLEST_BLOCK = 32  # bytes, of glibc's malloc on machines of 64 bits


@dataclass(frozen=True)
class Plan:
    """A command of the simulator, and how often it repeats."""

    command: str
    warm_up: int
    window: int


COMPUTES = Plan("run", warm_up=200, window=200)
LIVES = Plan("live", warm_up=100, window=120)
LIMIT = SMALLEST_BLOCK / 2  # bytes per repetition


def slopes(
    program: Path, collection: KimCollection, folder: Path, plan: Plan, model: str, leak: int = 0, **variables: str
) -> tuple[float, float]:
    """Return how memory grows, in bytes per repetition: allocated memory in the best window, resident memory in all."""
    if not (folder / FILE).exists():
        mixed().write(folder / FILE)
    count = plan.warm_up + WINDOWS * plan.window
    settings = {
        "KIM_TORCHML_QUIET": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONMALLOC": "malloc",
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
    }
    done = subprocess.run(
        [str(program), plan.command, model, FILE, str(count), str(leak)],
        cwd=folder,
        env=collection.environment | settings | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    counts, allocated, resident = np.array(
        [[sample["count"], sample["allocated_bytes"], sample["resident_bytes"]] for sample in samples], dtype=float
    ).T
    measured = np.flatnonzero(counts > plan.warm_up)
    halves = np.array_split(measured, 2 * WINDOWS)
    windows = [np.concatenate(pair) for pair in itertools.pairwise(halves)]
    assert min(map(len, windows)) >= 6
    growth = [float(np.polyfit(counts[window], allocated[window], 1)[0]) for window in windows]
    return min(growth), float(np.polyfit(counts[measured], resident[measured], 1)[0])


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2, tiny.DESCRIPTOR, tiny.EDGES_3])
@pytest.mark.parametrize("plan", [COMPUTES, LIVES], ids=["run", "live"])
def test_memory_does_not_grow(
    simulator: Path, collection: KimCollection, own_folder: Path, plan: Plan, name: str
) -> None:
    """It does not in 1200 computes with changing neighbour lists, nor in hundreds of lives of a model."""
    # Each particle moves by itself, as no image does.
    allocated, resident = slopes(simulator, collection, own_folder, plan, name, KIM_TORCHML_EDGES="staged")
    assert allocated < LIMIT
    assert resident < PAGE


@pytest.mark.parametrize(
    ("plan", "particles"),
    [(COMPUTES, of_atoms(cluster())), (LIVES, of_atoms(crystal(), tiny.CUTOFF, by_translation=True))],
    ids=["run", "live"],
)
def test_memory_does_not_grow_where_images_are_folded(
    simulator: Path, collection: KimCollection, own_folder: Path, plan: Plan, particles: Configuration
) -> None:
    """Particles that move by themselves have no images; in each life of a model, owners are inferred."""
    particles.write(own_folder / FILE)
    allocated, resident = slopes(simulator, collection, own_folder, plan, tiny.EDGES_3, KIM_TORCHML_EDGES="folded")
    assert allocated < LIMIT
    assert resident < PAGE


@pytest.mark.parametrize("plan", [COMPUTES, LIVES], ids=["run", "live"])
def test_measurement_notices_a_leak(simulator: Path, collection: KimCollection, own_folder: Path, plan: Plan) -> None:
    """Not only does it notice one byte, it also counts the block of it and hardly more."""
    allocated, _ = slopes(simulator, collection, own_folder, plan, tiny.RAW, leak=1)
    assert 0.75 * SMALLEST_BLOCK < allocated < 1.25 * SMALLEST_BLOCK
