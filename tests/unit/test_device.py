# SPDX-License-Identifier: LGPL-2.1-or-later
"""The device and the number of threads."""

import os
import re
import threading
from weakref import WeakSet

import numpy as np
import pytest
import torch
from models import PARAMETERS, Graph3, PairOfAll, script_bytes
from opening import compute
from particles import cluster

from kim_torchml.driver import opened_models
from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.errors import DriverError
from kim_torchml.process.device import choose_device, describe_device, determinism
from kim_torchml.process.rank import Rank
from kim_torchml.process.threads import choose_threads, set_threads

ALONE = Rank(rank=None, local_rank=0, local_size=1, size=1)


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that makes torch report this number of GPUs."""

    def function(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device}")

    return function


@pytest.fixture
def threads_set(monkeypatch):
    """Return the list of numbers that torch.set_num_threads was called with."""
    calls = []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    return calls


@pytest.mark.parametrize("request_", ["cpu", " cpu ", "CPU"])
@pytest.mark.parametrize("count", [0, 2])
def test_cpu(request_, count, gpus):
    gpus(count)
    assert choose_device(request_, ALONE) == torch.device("cpu")


def test_ranks_of_a_node_take_the_gpus_in_turn(gpus):
    gpus(3)
    ranks = [Rank(rank=100 + local, local_rank=local, local_size=7, size=107) for local in range(7)]
    assert [choose_device("cuda", rank).index for rank in ranks] == [0, 1, 2, 0, 1, 2, 0]


def test_a_named_gpu_is_everyones(gpus):
    gpus(3)
    for local in range(4):
        assert choose_device("cuda:2", Rank(local, local, 4, 4)) == torch.device("cuda", 2)


@pytest.mark.parametrize("request_", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda0", "cpu:0", "mps", "cuda:0,1", "x y"])
def test_an_unknown_device(request_, gpus):
    gpus(2)
    message = (
        f"`KIM_MODEL_EXECUTION_DEVICE` must be cpu, cuda or cuda:N, got '{request_}'; "
        "available here: cpu, cuda:0 (Card 0), cuda:1 (Card 1)"
    )
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        choose_device(request_, ALONE)


def test_a_gpu_that_is_not_there(gpus):
    gpus(2)
    message = (
        "`KIM_MODEL_EXECUTION_DEVICE` asks for 'cuda:2', but that device is not there; "
        "available here: cpu, cuda:0 (Card 0), cuda:1 (Card 1)"
    )
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        choose_device("cuda:2", ALONE)


@pytest.mark.parametrize("request_", ["cuda", "cuda:0"])
def test_a_torch_without_cuda(request_, gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(torch.version, "cuda", None)
    message = (
        f"asks for '{request_}', but that device is not there; available here: cpu; this torch "
        f"({torch.__version__}) is built without CUDA: install a CUDA build of it"
    )
    with pytest.raises(DriverError, match=f"{re.escape(message)}$"):
        choose_device(request_, ALONE)


@pytest.mark.parametrize(("visible", "hint"), [(None, ""), ("", " (CUDA_VISIBLE_DEVICES is '')")])
def test_a_torch_with_cuda_that_sees_no_gpu(visible, hint, gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    message = f"available here: cpu; torch sees no GPU{hint}: check nvidia-smi and the GPU's driver"
    with pytest.raises(DriverError, match=f"{re.escape(message)}$"):
        choose_device("cuda", ALONE)


def test_the_device_of_these_tests_is_there(device):
    chosen = choose_device(device.type, ALONE)
    assert chosen == device
    assert torch.ones(2, device=chosen).sum() == 2
    assert describe_device(chosen).startswith(str(device))


@pytest.mark.parametrize(
    ("cores", "ranks", "limit", "threads"),
    [
        (16, 1, None, 16),
        (16, 4, None, 4),
        (16, 5, None, 3),
        (2, 4, None, 1),
        (16, 1, "4", 4),
        (16, 8, "4", 2),
        (16, 1, "64", 16),
        (16, 1, "4,2", 4),
        (16, 2, "  ", 8),
        (16, 2, "1", 1),
    ],
)
def test_threads_of_a_rank(cores, ranks, limit, threads, monkeypatch):
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert choose_threads(Rank(0, 0, ranks, ranks), cores) == threads


@pytest.mark.parametrize("value", ["none", "0", "-2", "1.5", "4;2", "99999999999"])
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "KIM_TORCHML_THREADS"])
def test_numbers_of_threads_that_are_none(name, value, monkeypatch, threads_set):
    monkeypatch.setenv(name, value)
    message = f"the environment variable {name} must be a whole number, 1 or more, got '{value}'"
    with pytest.raises(DriverError, match=f"^{re.escape(message)}"):
        set_threads(ALONE, process_is_ours=True)
    assert threads_set == []


def test_threads_are_set_in_a_process_of_ours(monkeypatch, threads_set):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    set_threads(Rank(0, 0, 3, 3), process_is_ours=True)
    assert threads_set == [4]


def test_threads_of_a_host_are_left_alone(monkeypatch, threads_set):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    set_threads(ALONE, process_is_ours=False)
    assert threads_set == []


@pytest.mark.parametrize("ours", [True, False])
def test_threads_that_the_user_asks_for(ours, monkeypatch, threads_set):
    monkeypatch.setenv("KIM_TORCHML_THREADS", " 3 ")
    set_threads(Rank(0, 0, 64, 64), process_is_ours=ours)
    assert threads_set == [3]


@pytest.fixture
def without_workspace(monkeypatch):
    """Restore torch's and the environment's settings after the test."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_deterministic_debug_mode()
    yield
    torch.set_deterministic_debug_mode(before)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def deterministic_settings():
    return torch.get_deterministic_debug_mode(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")


CUDA = torch.device("cuda:0")
ON = (2, ":4096:8")


@pytest.mark.usefixtures("without_workspace")
@pytest.mark.parametrize(
    ("device", "value", "expected"),
    [("cuda:0", "1", ON), ("cuda:0", "0", (0, None)), ("cuda:0", None, (0, None)), ("cpu", "1", (0, None))],
)
def test_a_gpu_is_deterministic_on_request(device, value, expected, monkeypatch):
    if value is not None:
        monkeypatch.setenv("KIM_TORCHML_DETERMINISTIC", value)
    with determinism(torch.device(device)):
        assert deterministic_settings() == expected
    assert deterministic_settings() == (0, None)


@pytest.fixture
def wanted(monkeypatch, without_workspace):
    """Let the user ask for the same bits on a GPU."""
    monkeypatch.setenv("KIM_TORCHML_DETERMINISTIC", "1")


@pytest.mark.usefixtures("wanted")
def test_determinism_ends_with_the_call_even_if_it_fails():
    with pytest.raises(ZeroDivisionError), determinism(CUDA):
        raise ZeroDivisionError
    assert deterministic_settings() == (0, None)


@pytest.mark.usefixtures("wanted")
@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("workspace", [None, ":16:8", ":4096:8"])
def test_a_host_keeps_its_own_determinism(mode, workspace):
    torch.set_deterministic_debug_mode(mode)
    if workspace is not None:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = workspace
    for _ in range(2):
        with determinism(CUDA):
            assert deterministic_settings() == (2, workspace or ":4096:8")
        assert deterministic_settings() == (mode, workspace)


@pytest.mark.usefixtures("wanted")
@pytest.mark.parametrize("mode", [0, 1])
def test_a_host_that_changes_its_determinism_meanwhile(mode):
    torch.set_deterministic_debug_mode(1 - mode)
    with determinism(CUDA):
        torch.set_deterministic_debug_mode(mode)
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    assert deterministic_settings() == (mode, ":16:8")


@pytest.mark.usefixtures("wanted")
def test_determinism_lasts_until_the_last_thread_has_computed():
    first_is_inside, first_may_leave = threading.Event(), threading.Event()

    def first():
        with determinism(CUDA):
            first_is_inside.set()
            first_may_leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    first_is_inside.wait(10)
    with determinism(CUDA), determinism(CUDA):
        first_may_leave.set()
        thread.join()
        assert deterministic_settings() == ON
    assert deterministic_settings() == (0, None)


@pytest.mark.usefixtures("wanted")
def test_many_threads_leave_determinism_as_it_was():
    seen = set()

    def compute_often():
        for _ in range(200):
            with determinism(CUDA):
                seen.add(deterministic_settings())

    threads = [threading.Thread(target=compute_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {ON}
    assert deterministic_settings() == (0, None)


@pytest.mark.usefixtures("wanted")
def test_a_model_is_deterministic_when_it_is_probed_and_when_it_computes(opened, device, monkeypatch):
    modes = []

    def noted(program, inputs, wants_gradient):
        modes.append(torch.get_deterministic_debug_mode())
        return run(program, inputs, wants_gradient)

    run = TorchScriptProgram.run
    monkeypatch.setattr(TorchScriptProgram, "run", noted)
    monkeypatch.setattr(opened_models, "_living", WeakSet())
    monkeypatch.setattr("kim_torchml.driver.model.determinism", lambda device: determinism(CUDA))
    model = opened(script_bytes(PairOfAll))
    probes = len(modes)
    compute(model, cluster(6))
    assert 0 < probes < len(modes)
    assert set(modes) == {2}
    assert deterministic_settings() == (0, None)


@pytest.mark.cuda
@pytest.mark.usefixtures("without_workspace")
@pytest.mark.parametrize("kind", [PairOfAll, Graph3])
def test_a_gpu_gives_the_same_bits_twice(kind, opened, device, monkeypatch):
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    monkeypatch.setenv("KIM_TORCHML_DETERMINISTIC", "1")
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    configuration = cluster(200, 12.0)
    first, second = compute(model, configuration), compute(model, configuration)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
