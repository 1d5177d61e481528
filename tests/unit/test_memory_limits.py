# SPDX-License-Identifier: LGPL-2.1-or-later
"""A device that runs out of memory gives an error that says so, and the model works afterwards."""

import re
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


@pytest.mark.cuda
def test_a_gpu_that_is_full(opened, device):
    """Here the inputs or the derivative fail, not the model."""
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    model = opened(script_bytes(Pair1))
    expected = compute(model, FEW, ALL)
    large = cluster(200, 40.0)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-7)
    try:
        with pytest.raises(
            DriverError, match=r"^the memory of cuda:\d .* must hold .* and 200 particles, got: CUDA out"
        ):
            compute(model, large, ALL)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
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


def test_other_errors_are_not_called_memory(opened, monkeypatch):
    model = opened(script_bytes(Pair1))

    def broken(*_):
        raise RuntimeError("a mistake of the driver's own")

    monkeypatch.setattr(type(model._inputs), "build", broken)
    with pytest.raises(RuntimeError, match=r"^a mistake of the driver's own$"):
        compute(model, FEW)
