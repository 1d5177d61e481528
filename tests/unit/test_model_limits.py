# SPDX-License-Identifier: LGPL-2.1-or-later
"""Few particles, none, or none that contribute; a host with settings of its own; several threads."""

import threading
from weakref import WeakSet

import numpy as np
import pytest
import torch
from formulas import particle_energies
from misbehaving import RelativeSpecies
from models import PARAMETERS, Graph2, Graph3, Graph4, GraphWithForces, Pair, PairOfAll, script_bytes
from opening import ALL, assert_close, compute, outputs_of
from particles import Configuration, cluster, interleaved
from torch import Tensor

from kim_torchml.driver import opened_models

KINDS = pytest.mark.parametrize("kind", PARAMETERS, ids=[kind.__name__ for kind in PARAMETERS])


class NotAsked:
    """Neighbours that fail the test if they are asked for."""

    def of_contributing(self, cutoff):
        raise AssertionError("asked for neighbours")

    def staged_edges(self, cutoff, n_layers):
        raise AssertionError("asked for edges")


@KINDS
@pytest.mark.parametrize("n", [0, 1, 5])
def test_nothing_contributes(kind, n, opened, monkeypatch):
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    configuration = Configuration(cluster(5).coordinates[:n], [0] * n, [0] * n)
    monkeypatch.setattr(configuration, "neighbours", NotAsked)
    for array in compute(model, configuration, outputs_of(kind)).values():
        np.testing.assert_array_equal(array, np.zeros_like(array))


@pytest.mark.parametrize("n", [0, 3])
def test_a_model_is_not_called_for_particles_that_do_not_contribute(n, opened):
    """This model would return NaN if it were called."""
    configuration = Configuration(cluster(5).coordinates[:n], [0] * n, [0] * n)
    for array in compute(opened(script_bytes(RelativeSpecies)), configuration).values():
        np.testing.assert_array_equal(array, np.zeros_like(array))


@KINDS
@pytest.mark.parametrize("code", [0, 2])
def test_one_particle(kind, code, opened):
    model = opened(script_bytes(kind), elements=("Si", "C", "O"), **PARAMETERS[kind])
    found = compute(model, Configuration([[1, -2, 3]], [code], [1]), outputs_of(kind))
    own = (1 + 0.1 * code) + 0.1 * (1 + 0.1 * code) ** 2 if "n_layers" in PARAMETERS[kind] else 0.0
    assert found["partialEnergy"][0] == pytest.approx(own, abs=1e-14)
    np.testing.assert_array_equal(found["partialForces"], np.zeros((1, 3)))
    if "partialParticleEnergy" in found:
        assert found["partialParticleEnergy"].tolist() == pytest.approx([own], abs=1e-14)


@KINDS
@pytest.mark.parametrize("flags", [[1, 1, 1], [1, 0, 1]])
def test_particles_without_neighbours(kind, flags, opened):
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    configuration = Configuration([[0, 0, 0], [8, 0, 0], [0, 8, 0]], [0] * 3, flags)
    found = compute(model, configuration, outputs_of(kind))
    own = 1.1 if "n_layers" in PARAMETERS[kind] else 0.0
    assert found["partialEnergy"][0] == pytest.approx(own * sum(flags), abs=1e-14)
    np.testing.assert_array_equal(found["partialForces"], np.zeros((3, 3)))
    if "partialParticleEnergy" in found:
        np.testing.assert_allclose(found["partialParticleEnergy"], own * np.array(flags), atol=1e-14)


@KINDS
def test_two_particles(kind, opened):
    """There are as many particles as where a lone particle is padded with a second one."""
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    coordinates = np.array([[0, 0, 0], [1.0, 0.5, 0.2]])
    for flags in ([1, 1], [1, 0], [0, 1]):
        found = compute(model, Configuration(coordinates, [0, 0], flags), outputs_of(kind))
        expected = particle_energies(kind, coordinates, np.zeros(2), np.array(flags))
        assert found["partialEnergy"][0] == pytest.approx(expected.sum(), abs=1e-13)
        if "partialParticleEnergy" in found:
            np.testing.assert_allclose(found["partialParticleEnergy"], expected, atol=1e-13)


def test_arrays_that_are_views(opened):
    """A simulator's arrays may have any strides and flags."""
    model = opened(script_bytes(PairOfAll))
    configuration = interleaved(cluster(8, n_contributing=5))
    expected = compute(model, configuration)
    wide = np.zeros((8, 6))
    wide[:, ::2] = configuration.coordinates
    configuration.coordinates = wide[:, ::2]
    found = compute(model, configuration)
    assert_close(found, expected)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autograd off": lambda: torch.autograd.set_grad_enabled(False),
}


@pytest.mark.parametrize("kind", [PairOfAll, Graph3, GraphWithForces])
@pytest.mark.parametrize("mode", MODES)
def test_a_host_that_has_turned_gradients_off(mode, kind, opened, monkeypatch):
    configuration = interleaved(cluster(8, n_contributing=5))
    expected = compute(opened(script_bytes(kind), **PARAMETERS[kind]), configuration, outputs_of(kind))
    monkeypatch.setattr(opened_models, "_living", WeakSet())
    with MODES[mode]():
        model = opened(script_bytes(kind), **PARAMETERS[kind])
        found = compute(model, configuration, outputs_of(kind))
        assert torch.is_grad_enabled() is False
    assert_close(compute(model, configuration, outputs_of(kind)), expected)
    assert_close(found, expected)


class WithMatrixProduct(Pair):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0, 0.3, -0.2], [0.1, 0.7, 0.37], [-0.4, 0.21, 1.3]]) / 3.0)

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, self.layer(coordinates), n_neighbours, neighbours)


def test_a_host_that_lets_matrix_products_lose_digits(opened, device, monkeypatch):
    configuration = cluster(8)
    content = script_bytes(WithMatrixProduct, dtype=torch.float32)
    expected = compute(opened(content), configuration)
    monkeypatch.setattr(opened_models, "_living", WeakSet())
    with torch.autocast(device.type, dtype=torch.bfloat16):
        found = compute(opened(content), configuration)
        assert torch.is_autocast_enabled(device.type)
    # bfloat16 has three digits. Sums on a GPU come in any order.
    assert_close(found, expected, 0.0 if device.type == "cpu" else 1e-5)


@pytest.mark.parametrize("kind", [PairOfAll, Graph2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_host_with_a_default_dtype_of_its_own(dtype, kind, opened):
    configuration = cluster(8, n_contributing=5)
    expected = compute(opened(script_bytes(kind), **PARAMETERS[kind]), configuration)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = compute(opened(script_bytes(kind), **PARAMETERS[kind]), configuration)
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(before)
    assert_close(found, expected)


@pytest.mark.parametrize("kind", [PairOfAll, Graph2])
def test_a_host_with_a_default_device_of_its_own(kind, opened):
    for configuration in (cluster(8, n_contributing=5), Configuration([[0, 0, 0]], [0], [1])):
        expected = compute(opened(script_bytes(kind), **PARAMETERS[kind]), configuration)
        with torch.device("meta"):
            found = compute(opened(script_bytes(kind), **PARAMETERS[kind]), configuration)
        assert_close(found, expected)


def in_threads(models, configurations, times):
    """Return the results of threads, each of which computes its configuration with its model `times` times."""
    found = [[] for _ in models]

    def work(k):
        found[k].extend(compute(models[k], configurations[k]) for _ in range(times))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_threads_compute_with_one_model(opened):
    model = opened(script_bytes(Graph3), **PARAMETERS[Graph3])
    configurations = [interleaved(cluster(8 + k, n_contributing=5, seed=k)) for k in range(4)]
    expected = [compute(model, configuration) for configuration in configurations]
    for results, wanted in zip(in_threads([model] * 4, configurations, 5), expected, strict=True):
        assert len(results) == 5
        for result in results:
            assert_close(result, wanted)


class Remembering(Pair):
    """A model that keeps its coordinates in an attribute for a while, as modules of torch_geometric do."""

    kept: Tensor

    def __init__(self):
        super().__init__()
        self.kept = torch.zeros([0, 3], dtype=torch.float64)

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        self.kept = coordinates
        waste = torch.ones([20000], dtype=torch.float64)
        for _ in range(20):
            waste = waste.sin()
        return self.site_energies(species, self.kept, n_neighbours, neighbours) + 0.0 * waste[0]


def test_threads_compute_with_a_model_that_writes_to_itself(opened):
    models = [opened(script_bytes(Remembering)) for _ in range(3)]
    configurations = [cluster(8, seed=k) for k in range(3)]
    expected = [compute(model, configuration) for model, configuration in zip(models, configurations, strict=True)]
    for results, wanted in zip(in_threads(models, configurations, 20), expected, strict=True):
        assert len(results) == 20
        for result in results:
            assert_close(result, wanted)


@KINDS
def test_the_same_input_gives_the_same_bits(kind, opened, device):
    if device.type == "cuda":
        pytest.skip("a GPU gives them on request only: test_device.py")
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    configuration = interleaved(cluster(14, n_contributing=9))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (compute(model, configuration, outputs_of(kind)) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_two_models_side_by_side(tmp_path, opened):
    configuration = interleaved(cluster(8, n_contributing=5))
    pair = opened(script_bytes(PairOfAll))
    alone = compute(pair, configuration)
    graph = opened(script_bytes(Graph4), **PARAMETERS[Graph4])
    assert compute(graph, configuration, ALL[:2])["partialEnergy"][0] != alone["partialEnergy"][0]
    again = compute(pair, configuration)
    assert_close(again, alone)
