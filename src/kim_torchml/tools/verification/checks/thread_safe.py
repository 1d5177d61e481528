# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads that compute at the same time get, bit for bit, what they get one after the other.

As in OpenKIM's check each thread has a model of its own. KIM also lets threads share one model, each with its own
compute arguments; that is tried as well and reported, but not graded: KIM's own Stillinger-Weber driver crashes there.
So it runs in a process of its own (shared_model.py).
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import KimModel, ModelArguments
from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.grades import FAILED, PASSED
from kim_torchml.tools.verification.model_under_test import Bench
from kim_torchml.tools.verification.result import Finding
from kim_torchml.tools.verification.worker_process import describe_end, environment

# Cells along each axis: of crystals for fast models, since threads must be in the model's code at the same time, and of
# pieces of a crystal for slow ones.
SMALL = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 2, 1)]
LARGE = [(2, 2, 2), (3, 2, 2), (3, 3, 2), (3, 3, 3)]
FAST = 4e-3  # seconds, for the largest of the small ones
# In each cycle every thread computes one configuration up to this many times in a row.
MOST_IN_A_ROW = 50
MOST_CYCLES = 30
FEWEST_CYCLES = 3
# About what one way of sharing takes, all threads together.
SECONDS = 1.0
SHARED_TIMEOUT = 300.0


@dataclass(frozen=True)
class Way:
    """How threads use the model.

    Attributes:
        name: For the report.
        shared: Whether all compute on one model, each with its own compute arguments.
        release_gil: Whether Python's lock is released round the model's compute.
    """

    name: str
    shared: bool
    release_gil: bool


GRADED_WAYS = (
    Way("a model for each thread, Python's lock released", shared=False, release_gil=True),
    Way("a model for each thread, Python's lock held", shared=False, release_gil=False),
)
SHARED_WAY = Way("one model, compute arguments for each thread (not graded)", shared=True, release_gil=True)


@dataclass(frozen=True)
class Task:
    """What threads compute, and must get.

    Attributes:
        particles: Of each configuration.
        outputs: KIM's names.
        expected: The serial results of each configuration.
        cycles: How often the configurations are dealt to the threads.
        in_a_row: How often a thread then computes the one that it got.
    """

    particles: list[KimParticles]
    outputs: tuple[str, ...]
    expected: list[dict[str, Floats]]
    cycles: int
    in_a_row: int


def run(bench: Bench) -> Finding:
    """Compute rattled fcc crystals of different sizes one after the other, then in threads."""
    task = _task(bench)
    rows: list[dict[str, Any]] = []
    for index, way in enumerate(GRADED_WAYS):

        def done(fraction: float, index: int = index) -> None:
            bench.progress((index + fraction) / (len(GRADED_WAYS) + 1))

        rows.append(_row(bench, task, way, done))
    shared = _shared_elsewhere(bench)
    bench.progress(1.0)
    details = {"rows": [*rows, shared], "threads": len(task.particles)}
    worst = max(rows, key=lambda row: float(row["error"]))
    if worst["wrong"]:
        comment = (
            f"{worst['wrong']} of {worst['computed']} results differ from the serial ones: {worst['configuration']}."
        )
        return Finding(FAILED, worst["error"], comment, details)
    total = sum(row["computed"] for row in rows)
    comment = f"All {total} results in {len(task.particles)} threads, a model each, equal the serial ones bit for bit"
    if shared["wrong"] == 0:
        return Finding(PASSED, 0.0, f"{comment}; so they do on one shared model.", details)
    return Finding(PASSED, 0.0, f"{comment}. Threads cannot share one model, though (not graded).", details)


def _task(bench: Bench) -> Task:
    """Return what to compute: small pieces, or periodic crystals if those take no time."""
    particles = _crystals(bench, SMALL, periodic=False)
    # A first compute takes longer than the later ones.
    _timed(bench, particles[-1:])
    if _timed(bench, particles[-1:])[0] < FAST:
        particles = _crystals(bench, LARGE, periodic=True)
    seconds, expected = _timed(bench, particles)
    in_a_row = int(np.clip(SECONDS / (seconds * MOST_CYCLES), 1, MOST_IN_A_ROW))
    cycles = int(np.clip(SECONDS / (seconds * in_a_row), FEWEST_CYCLES, MOST_CYCLES))
    return Task(particles, bench.outputs, expected, cycles, in_a_row)


def _crystals(bench: Bench, repeats: list[tuple[int, int, int]], periodic: bool) -> list[KimParticles]:
    """Return rattled crystals, or pieces of them."""
    random = bench.random("thread-safe")
    nearest = bench.nearest("fcc", bench.mixture)
    cells = [crystal("fcc", counts, nearest, bench.mixture, random) for counts in repeats]
    # Zeros would be equal whatever happens.
    bench.reference(cells[0])
    return [bench.particles(replace(cell, periodic=(periodic,) * 3)) for cell in cells]


def _timed(bench: Bench, particles: list[KimParticles]) -> tuple[float, list[dict[str, Floats]]]:
    """Return the seconds that the model takes, and its results."""
    started = time.monotonic()
    results = [bench.model.compute(each, bench.outputs) for each in particles]
    return time.monotonic() - started, results


def _row(bench: Bench, task: Task, way: Way, done: Callable[[float], None]) -> dict[str, Any]:
    """Deal the configurations to threads again and again; return how many results were not the serial ones."""
    random = bench.random(way.name)
    count = len(task.particles)
    if way.shared:
        model = KimModel(bench.name)
        arguments = [ModelArguments(model) for _ in range(count)]
    else:
        arguments = [KimModel(bench.name).arguments for _ in range(count)]
    wrong = 0
    with ThreadPoolExecutor(count) as pool:
        for cycle in range(task.cycles):
            together = threading.Barrier(count)

            def work(thread: int, given: int, together: threading.Barrier = together) -> int:
                together.wait(timeout=60)
                return _count_wrong(arguments[thread], task, given, way.release_gil)

            wrong += sum(pool.map(work, range(count), random.permutation(count).tolist()))
            done((cycle + 1) / task.cycles)
    computed = task.cycles * count * task.in_a_row
    return {"configuration": way.name, "wrong": wrong, "computed": computed, "error": wrong / computed}


def _count_wrong(arguments: ModelArguments, task: Task, given: int, release_gil: bool) -> int:
    """Compute a configuration several times; return how often a result differs from the serial one."""
    wrong = 0
    arguments.prepare(task.particles[given], task.outputs)
    for _ in range(task.in_a_row):
        found = arguments.run(release_gil)
        wrong += not all(np.array_equal(found[name], task.expected[given][name]) for name in task.outputs)
    return wrong


def _shared_elsewhere(bench: Bench) -> dict[str, Any]:
    """Run the ungraded way in another process; return its row, which says how the process ended if it crashed."""
    command = [
        sys.executable,
        "-m",
        "kim_torchml.tools.verification.shared_model",
        bench.name,
        str(bench.seed),
        *bench.chosen,
    ]
    row = {"configuration": SHARED_WAY.name, "wrong": None}
    try:
        done = subprocess.run(
            command, env=environment(), capture_output=True, timeout=SHARED_TIMEOUT, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return row | {"not computed": f"no end after {SHARED_TIMEOUT:.0f} s"}
    if done.returncode != 0:
        printed = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return row | {"not computed": "; ".join([describe_end(done.returncode), *printed[-1:]])}
    # The model may have printed something before.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def shared_row(name: str, seed: int, species: list[str]) -> dict[str, Any]:
    """Return the row of the ungraded way."""
    bench = Bench(name, seed, species)
    return _row(bench, _task(bench), SHARED_WAY, lambda fraction: None)


CHECK = Check("thread-safe", run, alone=True)
