# SPDX-License-Identifier: LGPL-2.1-or-later
"""Resident memory of the C++ simulator does not grow.

After the warm-up, a line is fitted to the resident memory in each of five windows, and the smallest of the five slopes
counts. A leak shows in every window, whereas fragmentation costs some pages here and there until it settles (measured:
100 bytes per life in the first 2,000 lives, 0 in the next 4,000). The limits are below the size of one forgotten Python
object. That the measurement notices such a leak is tested too, with bytes that the simulator itself forgets.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from configurations import mixed
from kim_collection import KimCollection

WINDOWS = 5


@dataclass(frozen=True)
class Plan:
    """A command of the simulator, how often it repeats, and the limit in bytes per repetition."""

    command: str
    warm_up: int
    window: int
    limit: float


COMPUTES = Plan("run", warm_up=500, window=1000, limit=16.0)
LIVES = Plan("live", warm_up=100, window=600, limit=64.0)
# The memory of a descriptor's many small tensors settles later (measured: 180, 50, 0, 0, 5 bytes per life in these
# windows).
MORE_LIVES = Plan("live", warm_up=100, window=1200, limit=64.0)


def slope(program: Path, collection: KimCollection, folder: Path, plan: Plan, model: str, leak: int = 0) -> float:
    """Return the smallest slope of resident memory among the windows, in bytes per repetition."""
    mixed().write(folder / "particles.txt")
    count = plan.warm_up + WINDOWS * plan.window
    done = subprocess.run(
        [str(program), plan.command, model, "particles.txt", str(count), str(leak)],
        cwd=folder,
        env=collection.environment | {"KIM_TORCHML_QUIET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    points = np.array([[sample["count"], sample["resident_bytes"]] for sample in samples], dtype=float)
    windows = np.array_split(points[points[:, 0] > plan.warm_up], WINDOWS)
    assert min(map(len, windows)) >= 50
    return min(float(np.polyfit(window[:, 0], window[:, 1], 1)[0]) for window in windows)


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (COMPUTES, tiny.RAW),
        (COMPUTES, tiny.GRAPH_2),
        (COMPUTES, tiny.DESCRIPTOR),
        (LIVES, tiny.RAW),
        (LIVES, tiny.GRAPH_2),
        (MORE_LIVES, tiny.DESCRIPTOR),
    ],
    ids=lambda value: getattr(value, "command", value),
)
def test_memory_does_not_grow(
    simulator: Path, collection: KimCollection, own_folder: Path, plan: Plan, name: str
) -> None:
    """It does not in thousands of computes with changing neighbour lists, nor of lives of a model."""
    assert slope(simulator, collection, own_folder, plan, name) < plan.limit


@pytest.mark.parametrize(("plan", "leak"), [(COMPUTES, 48), (LIVES, 256)], ids=["run", "live"])
def test_measurement_notices_a_leak(
    simulator: Path, collection: KimCollection, own_folder: Path, plan: Plan, leak: int
) -> None:
    assert slope(simulator, collection, own_folder, plan, tiny.RAW, leak) > 2 * plan.limit
