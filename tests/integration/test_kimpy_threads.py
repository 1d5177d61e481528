# SPDX-License-Identifier: LGPL-2.1-or-later
"""The GIL, threads, and the settings of a host's Python that the driver leaves alone."""

import decimal
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_models as tiny
import torch
from configurations import crystal, mixed, of_atoms
from kimpy_host import ENERGY, KimpyModel, computed_together

pytestmark = [pytest.mark.every_system, pytest.mark.usefixtures("collection")]


@pytest.mark.parametrize("name", [tiny.RAW, tiny.RAW_FORCES, tiny.GRAPH_3])
def test_gil_released_or_held(name: str) -> None:
    model = KimpyModel(name)
    held = model.compute(mixed(), release_gil=False)
    released = model.compute(mixed(), release_gil=True)
    for one, other in zip(held, released, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("release_gil", [False, True])
@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_3, tiny.DESCRIPTOR])
def test_threads_compute_with_one_model_and_arguments_of_their_own(name: str, release_gil: bool) -> None:
    model = KimpyModel(name)
    particles = [mixed(seed=seed) for seed in range(4)]
    expected = [model.compute(p) for p in particles]
    hosts = [model.with_own_arguments() for _ in particles]
    found = computed_together(hosts, particles, 20, release_gil=release_gil)
    for theirs, computes in zip(expected, found, strict=True):
        for ours in computes:
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("release_gil", [False, True])
def test_two_threads_compute_at_the_same_time(release_gil: bool) -> None:
    """Each thread has its own model and arguments, which were created in the main thread."""
    models = [KimpyModel(tiny.GRAPH_3), KimpyModel(tiny.GRAPH_3), KimpyModel(tiny.RAW)]
    particles = [mixed(seed=seed) for seed in (1, 2, 3)]
    expected = [model.compute(p) for model, p in zip(models, particles, strict=True)]
    together = threading.Barrier(len(models))

    def work(index: int) -> list[np.ndarray]:
        together.wait(timeout=30)
        for _ in range(30):
            results = models[index].compute(particles[index], release_gil=release_gil)
        return results

    with ThreadPoolExecutor(len(models)) as pool:
        found = list(pool.map(work, range(len(models))))
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("release_gil", [False, True])
def test_models_in_two_threads_make_progress_together(release_gil: bool) -> None:
    """While torch works for one model, without the GIL, another one computes."""
    slow, quick = KimpyModel(tiny.RAW_SLOW), KimpyModel(tiny.RAW)
    many, few = of_atoms(crystal(), 3.0), mixed()
    assert len(many) > 60 > len(few)
    (expected,) = quick.compute(few, (ENERGY,))
    started, ended = threading.Event(), threading.Event()

    def work_slowly() -> None:
        started.set()
        slow.compute(many, (ENERGY,), release_gil=release_gil)
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work_slowly)
        started.wait(timeout=30)
        computes = 0
        while not ended.is_set():
            (found,) = quick.compute(few, (ENERGY,), release_gil=release_gil)
            assert found == expected
            computes += not ended.is_set()
        done.result()
    assert computes > 10


@pytest.mark.parametrize("release_gil", [False, True])
def test_neighbours_from_python(release_gil: bool) -> None:
    """The host's callback may be Python, and kimpy calls it without taking the GIL back."""
    particles = mixed()
    n = len(particles)
    calls = []

    def everyone_else(_, __, ___, particle: int) -> tuple[np.ndarray, int]:
        calls.append(particle)
        return np.delete(np.arange(n, dtype=np.int32), particle), 0

    model = KimpyModel(tiny.GRAPH_2)
    expected = model.compute(particles)
    found = model.compute(particles, release_gil=release_gil, neighbours=everyone_else)
    assert set(np.flatnonzero(particles.contributing)) <= set(calls)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_that_create_their_own_models() -> None:
    expected = KimpyModel(tiny.GRAPH_2).compute(mixed())[0][0]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: KimpyModel(tiny.GRAPH_2).compute(mixed())[0][0], range(6)))
    assert found == [expected] * 6


def host_settings() -> dict[str, object]:
    return {
        "default dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": torch.is_grad_enabled(),
        "random numbers": torch.random.get_rng_state().sum().item(),
        "executor": torch._C._get_graph_executor_optimize(),
        "numpy errors": np.geterr(),
        "decimal": repr(decimal.getcontext()),
        "path": list(sys.path),
        "folder": os.getcwd(),  # noqa: PTH109
        "warnings": list(warnings.filters),
        "streams": (sys.stdout, sys.stderr),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSEGV)],
    }


@pytest.mark.parametrize("name", [tiny.RAW, tiny.RAW_FORCES, tiny.RAW_FLOAT32, tiny.GRAPH_2])
def test_host_keeps_its_settings(name: str) -> None:
    before = host_settings()
    model = KimpyModel(name)
    model.compute(mixed())
    assert host_settings() == before


def test_host_may_compute_without_gradients() -> None:
    """torch.no_grad() around a simulator's loop must not take the forces away."""
    model = KimpyModel(tiny.GRAPH_2)
    _, expected = model.compute(mixed())
    with torch.no_grad():
        _, found = model.compute(mixed())
    with torch.inference_mode():
        _, inferred = model.compute(mixed())
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(inferred, expected)


def test_host_may_have_another_default_dtype() -> None:
    expected = KimpyModel(tiny.GRAPH_2).compute(mixed())
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = KimpyModel(tiny.GRAPH_2).compute(mixed())
    finally:
        torch.set_default_dtype(before)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
