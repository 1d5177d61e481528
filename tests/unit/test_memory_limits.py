# SPDX-License-Identifier: LGPL-2.1-or-later
"""A device that runs out of memory gives an error that says so, and the model works afterwards."""

import re
from contextlib import contextmanager, suppress
from weakref import WeakSet

import numpy as np
import pytest
import torch
from models import Pair, script_bytes
from opening import ALL, compute
from particles import cluster
from torch import Tensor

from kim_torchml.driver import opened_models
from kim_torchml.errors import DriverError

FEW = cluster(6, 2.6, n_contributing=4)
MANY = cluster(12, 3.4, n_contributing=4)
# Nothing has been computed yet, so that the number of particles is not to blame.
REMEDY = "; end what else is there, or use a device with more memory, or fewer ranks on each$"


class Hungry(Pair):
    """A model that asks for more memory than any machine has if there are more than ten particles."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        energies = self.site_energies(species, coordinates, n_neighbours, neighbours)
        if coordinates.size(0) > 10:
            rows = 10000000 * coordinates.size(0)
            energies = energies + torch.zeros([rows, 1000000], device=coordinates.device).sum()
        return energies


def test_a_model_that_asks_for_too_much(opened, device):
    model = opened(script_bytes(Hungry))
    expected = compute(model, FEW)
    arrays = {"partialEnergy": np.full(1, 5.0), "partialForces": np.full((12, 3), 5.0)}
    arguments = (MANY.coordinates, MANY.species_codes, MANY.contributing)
    message = (
        rf"^the memory of {re.escape(str(device))}.* must hold the model in model\.pt and 12 particles, got: .*memory"
        ".*; use fewer particles, or more ranks or devices$"
    )
    with pytest.raises(DriverError, match=message):
        model.compute(*arguments, MANY.neighbours(), arrays)
    assert all((array == 5.0).all() for array in arrays.values())
    for name, array in compute(model, FEW).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-13, err_msg=name)


@contextmanager
def full_gpu(device):
    """Leave no memory on a GPU for anything more, not even in the blocks that torch keeps for small tensors."""
    held = []
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-7, device)
    try:
        with suppress(torch.cuda.OutOfMemoryError):
            while True:
                held.append(torch.empty(1, dtype=torch.uint8, device=device))
        yield
    finally:
        held.clear()
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.cuda
def test_a_gpu_that_is_full(opened, device):
    """Here the inputs fail, not the model."""
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    model = opened(script_bytes(Pair1))
    expected = compute(model, FEW, ALL)
    message = r"^the memory of cuda:\d .* must hold .* and 6 particles, got: CUDA out"
    with full_gpu(device), pytest.raises(DriverError, match=message):
        compute(model, FEW, ALL)
    for name, array in compute(model, FEW, ALL).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-13, err_msg=name)


class Pair1(Pair):
    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours)


class HungryFromTheStart(Pair):
    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return coordinates.sum() + torch.zeros([100000000, 100000000], device=coordinates.device).sum()


def test_a_model_that_asks_for_too_much_when_it_is_probed(opened, device):
    message = (
        rf"^the memory of {re.escape(str(device))}.* must hold the model in model\.pt and its work, got: .*{REMEDY}"
    )
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(HungryFromTheStart))


def test_loading_without_memory(opened, monkeypatch):
    def without_memory(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.jit, "load", without_memory)
    monkeypatch.setattr(opened_models, "_living", WeakSet())
    message = rf"must hold the model in model\.pt and its tensors, got: CUDA out of memory.*{REMEDY}"
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(Hungry))


LIBRARY = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
ASSERTION = "CUDA error: device-side assert triggered"
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
MORE_LINES = "\nCUDA kernel errors might be asynchronously reported at some other API call\nFor debugging consider ..."


def failing(text):
    def function(*_, **__):
        raise RuntimeError(text)

    return function


def test_a_library_without_memory(opened, monkeypatch):
    model = opened(script_bytes(Pair1))
    monkeypatch.setattr(model._program, "_forward", failing(LIBRARY))
    with pytest.raises(
        DriverError, match=r"^the memory of .* 6 particles, got: CUDA error: CUBLAS_STATUS_ALLOC_FAILED"
    ):
        compute(model, FEW)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            ASSERTION,
            "the usual reason is an index beyond a table of the model, .* KIM_MODEL_EXECUTION_DEVICE=cpu shows",
        ),
        (NO_KERNEL, r"check the GPU with nvidia-smi, and that this torch is built for it \(docs/install\.md\)"),
        ("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling ..", "check the GPU"),
    ],
)
@pytest.mark.parametrize("where", ["program", "results"])
def test_a_gpu_that_fails(where, text, advice, opened, monkeypatch):
    """An error of a kernel is raised by whatever waits for the GPU next, in the model's code or after it."""
    model = opened(script_bytes(Pair1))
    if where == "program":
        monkeypatch.setattr(model._program, "_forward", failing(text + MORE_LINES))
    else:
        monkeypatch.setattr("kim_torchml.driver.model.evaluate", failing(text + MORE_LINES))
    message = (
        rf"^(cpu|cuda:0 \(.*\)) must compute the model in model\.pt with 6 particles, got: {re.escape(text)}; {advice}"
    )
    with pytest.raises(DriverError, match=message):
        compute(model, FEW)


def test_a_gpu_that_fails_while_a_model_is_loaded(opened, monkeypatch):
    """The file is not to blame."""
    monkeypatch.setattr(torch.jit, "load", failing(NO_KERNEL + MORE_LINES))
    monkeypatch.setattr(opened_models, "_living", WeakSet())
    message = rf"must compute the model in model\.pt with its tensors, got: {NO_KERNEL}; check the GPU"
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(Hungry))


def test_other_errors_are_not_called_memory(opened, monkeypatch):
    model = opened(script_bytes(Pair1))

    def broken(*_):
        raise RuntimeError("a mistake of the driver's own")

    monkeypatch.setattr(type(model._inputs), "build", broken)
    with pytest.raises(RuntimeError, match=r"^a mistake of the driver's own$"):
        compute(model, FEW)
