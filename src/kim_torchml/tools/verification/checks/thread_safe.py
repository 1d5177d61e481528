# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads that compute at the same time get, bit for bit, the results of computing one after the other.

As in OpenKIM's check, each thread has a model of its own. KIM also lets threads share one model, each with its own
compute arguments. That is tried as well and reported, but not graded, and it runs in a process of its own
(shared_model.py), because KIM's own Stillinger-Weber driver crashes then.
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
from kim_torchml.tools.verification.model_under_test import ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome
from kim_torchml.tools.verification.worker_process import child_environment, describe_exit

# Cells along each axis. Fast models compute the large crystals, because threads must be in the model's code at the same
# time; slow models compute the small pieces.
SMALL = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 2, 1)]
LARGE = [(2, 2, 2), (3, 2, 2), (3, 3, 2), (3, 3, 3)]
# A model is fast if it computes the largest of the small ones in less than this, s.
FAST = 4e-3
# In each cycle every thread computes one configuration up to this many times in a row.
MOST_IN_A_ROW = 50
MOST_CYCLES = 30
FEWEST_CYCLES = 3
# Approximate time that the threads take for each way, s.
SECONDS = 1.0
SHARED_TIMEOUT = 300.0


@dataclass(frozen=True)
class Way:
    """How threads use the model.

    Attributes:
        name: name of the way in the report.
        shared: whether all threads compute on one model, each with its own compute arguments.
        release_gil: whether Python's lock is released during the model's compute.
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
class ThreadWork:
    """What threads compute, and the results that they must get.

    Attributes:
        particles: particles of each configuration.
        outputs: outputs to compute, by KIM's names.
        expected: serial results of each configuration.
        cycles: number of times that the configurations are dealt to the threads.
        in_a_row: number of times that a thread then computes the configuration that it got.
    """

    particles: list[KimParticles]
    outputs: tuple[str, ...]
    expected: list[dict[str, Floats]]
    cycles: int
    in_a_row: int


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Compute rattled fcc crystals of different sizes one after the other, then in threads."""
    work = _thread_work(under_test)
    rows: list[dict[str, Any]] = []
    for index, way in enumerate(GRADED_WAYS):

        def done(fraction: float, index: int = index) -> None:
            under_test.progress((index + fraction) / (len(GRADED_WAYS) + 1))

        rows.append(_row(under_test, work, way, done))
    shared = _shared_elsewhere(under_test)
    under_test.progress(1.0)
    details = {"rows": [*rows, shared], "threads": len(work.particles)}
    worst = max(rows, key=lambda row: float(row["error"]))
    if worst["wrong"]:
        comment = (
            f"{worst['wrong']} of {worst['computed']} results differ from the serial ones: {worst['configuration']}."
        )
        return CheckOutcome(FAILED, worst["error"], comment, details)
    total = sum(row["computed"] for row in rows)
    comment = f"All {total} results in {len(work.particles)} threads, a model each, equal the serial ones bit for bit"
    if shared["wrong"] == 0:
        return CheckOutcome(PASSED, 0.0, f"{comment}; so they do on one shared model.", details)
    return CheckOutcome(PASSED, 0.0, f"{comment}. Threads cannot share one model, though (not graded).", details)


def _thread_work(under_test: ModelUnderTest) -> ThreadWork:
    """Return what to compute: small pieces of a crystal, or large periodic crystals if the model is fast."""
    particles = _crystals(under_test, SMALL, periodic=False)
    # A first compute takes longer than the later ones.
    _timed(under_test, particles[-1:])
    if _timed(under_test, particles[-1:])[0] < FAST:
        particles = _crystals(under_test, LARGE, periodic=True)
    seconds, expected = _timed(under_test, particles)
    in_a_row = int(np.clip(SECONDS / (seconds * MOST_CYCLES), 1, MOST_IN_A_ROW))
    cycles = int(np.clip(SECONDS / (seconds * in_a_row), FEWEST_CYCLES, MOST_CYCLES))
    return ThreadWork(particles, under_test.outputs, expected, cycles, in_a_row)


def _crystals(under_test: ModelUnderTest, repeats: list[tuple[int, int, int]], periodic: bool) -> list[KimParticles]:
    """Return rattled crystals, or pieces of them."""
    random = under_test.random("thread-safe")
    nearest = under_test.nearest("fcc", under_test.mixture)
    cells = [crystal("fcc", counts, nearest, under_test.mixture, random) for counts in repeats]
    # If the atoms did not interact, the results would be equal whatever the threads do; `reference` raises then.
    under_test.reference(cells[0])
    return [under_test.particles(replace(cell, periodic=(periodic,) * 3)) for cell in cells]


def _timed(under_test: ModelUnderTest, particles: list[KimParticles]) -> tuple[float, list[dict[str, Floats]]]:
    """Return the seconds that the model takes, and its results."""
    started = time.monotonic()
    results = [under_test.model.compute(each, under_test.outputs) for each in particles]
    return time.monotonic() - started, results


def _row(under_test: ModelUnderTest, work: ThreadWork, way: Way, done: Callable[[float], None]) -> dict[str, Any]:
    """Deal the configurations to threads again and again; return how many results differ from the serial ones."""
    random = under_test.random(way.name)
    count = len(work.particles)
    if way.shared:
        model = KimModel(under_test.name)
        arguments = [ModelArguments(model) for _ in range(count)]
    else:
        arguments = [KimModel(under_test.name).arguments for _ in range(count)]
    wrong = 0
    with ThreadPoolExecutor(count) as pool:
        for cycle in range(work.cycles):
            together = threading.Barrier(count)

            def count_wrong(thread: int, given: int, together: threading.Barrier = together) -> int:
                together.wait(timeout=60)
                return _count_wrong(arguments[thread], work, given, way.release_gil)

            wrong += sum(pool.map(count_wrong, range(count), random.permutation(count).tolist()))
            done((cycle + 1) / work.cycles)
    computed = work.cycles * count * work.in_a_row
    return {"configuration": way.name, "wrong": wrong, "computed": computed, "error": wrong / computed}


def _count_wrong(arguments: ModelArguments, work: ThreadWork, given: int, release_gil: bool) -> int:
    """Compute a configuration several times; return how often a result differs from the serial one."""
    wrong = 0
    arguments.prepare(work.particles[given], work.outputs)
    for _ in range(work.in_a_row):
        found = arguments.run(release_gil)
        wrong += not all(np.array_equal(found[name], work.expected[given][name]) for name in work.outputs)
    return wrong


def _shared_elsewhere(under_test: ModelUnderTest) -> dict[str, Any]:
    """Run the ungraded way in another process; return its row, or one that says how the process crashed."""
    command = [
        sys.executable,
        "-m",
        "kim_torchml.tools.verification.shared_model",
        under_test.name,
        str(under_test.seed),
        *under_test.chosen,
    ]
    row = {"configuration": SHARED_WAY.name, "wrong": None}
    try:
        done = subprocess.run(
            command, env=child_environment(), capture_output=True, timeout=SHARED_TIMEOUT, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return row | {"not computed": f"no end after {SHARED_TIMEOUT:.0f} s"}
    if done.returncode != 0:
        printed = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return row | {"not computed": "; ".join([describe_exit(done.returncode), *printed[-1:]])}
    # The model may have printed other lines before.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def shared_row(name: str, seed: int, species: list[str]) -> dict[str, Any]:
    """Return the row of the report for the ungraded way."""
    under_test = ModelUnderTest(name, seed, species)
    return _row(under_test, _thread_work(under_test), SHARED_WAY, lambda fraction: None)


CHECK = Check("thread-safe", run, alone=True)
