# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tensors that a model of preprocessing None is called with."""

import numpy as np
import pytest
import torch
from models import CUTOFF
from opening import folder_of, parameter_text
from particles import Configuration, cluster, interleaved

from kim_torchml.inputs import Particles, make_inputs


@pytest.fixture
def build(tmp_path, device):
    """Return a function that makes a model's inputs for a configuration."""

    def function(configuration, dtype=torch.float64, atomic_numbers=False, elements=("Si", "C", "O")):
        (tmp_path / "kim.param").write_text(parameter_text(elements=elements))
        kind = make_inputs(folder_of(tmp_path / "kim.param", atomic_numbers))
        flags = configuration.contributing.astype(bool)
        lists = configuration.neighbours()
        particles = Particles(configuration.coordinates, configuration.species_codes, flags, lists)
        return kind.build(particles, dtype, device)

    return function


def distances_by_row(inputs):
    """Return, for each contributing row, the sorted distances of its neighbours."""
    _, coordinates, counts, neighbours, _ = (tensor.detach().cpu().numpy() for tensor in inputs.arguments)
    lists = np.split(neighbours, np.cumsum(counts)[:-1])
    return [sorted(np.linalg.norm(coordinates[js] - coordinates[i], axis=1)) for i, js in enumerate(lists)]


def test_types_shapes_and_device(build, device):
    configuration = cluster(12, n_contributing=7, n_species=3)
    inputs = build(configuration)
    species, coordinates, counts, neighbours, contributing = inputs.arguments
    assert [tensor.dtype for tensor in inputs.arguments] == [
        torch.int64,
        torch.float64,
        torch.int32,
        torch.int32,
        torch.int64,
    ]
    assert {tensor.device for tensor in inputs.arguments} == {device}
    assert (species.shape, coordinates.shape, contributing.shape) == ((12,), (12, 3), (12,))
    assert counts.shape == (7,)
    assert neighbours.shape == (int(counts.sum()),)
    assert inputs.n_pairs == len(neighbours) > 0


def test_contributing_first_is_handed_over_as_it_is(build):
    configuration = cluster(12, n_contributing=7, n_species=3)
    inputs = build(configuration)
    species, coordinates, counts, neighbours, contributing = (tensor.tolist() for tensor in inputs.arguments)
    assert species == configuration.species_codes.tolist()
    assert coordinates == configuration.coordinates.tolist()
    expected_counts, expected_neighbours = configuration.neighbours().of_contributing(CUTOFF)
    assert (counts, neighbours) == (expected_counts.tolist(), expected_neighbours.tolist())
    assert contributing == configuration.contributing.tolist()


def test_interleaved_particles_are_put_in_order(build):
    configuration = interleaved(cluster(12, n_contributing=7, n_species=3))
    assert configuration.contributing.tolist() != sorted(configuration.contributing, reverse=True)
    inputs = build(configuration)
    species, coordinates, _, _, contributing = (tensor.detach().cpu().numpy() for tensor in inputs.arguments)
    rows = inputs.particle_of_row.cpu().numpy()
    assert sorted(rows) == list(range(12))
    assert contributing.tolist() == [1] * 7 + [0] * 5
    assert configuration.contributing[rows].tolist() == contributing.tolist()
    np.testing.assert_array_equal(coordinates, configuration.coordinates[rows])
    np.testing.assert_array_equal(species, configuration.species_codes[rows])
    r = np.linalg.norm(configuration.coordinates[:, None] - configuration.coordinates[None], axis=2)
    for particle, found in zip(rows, distances_by_row(inputs), strict=False):
        np.testing.assert_allclose(found, sorted(r[particle][(r[particle] <= CUTOFF) & (r[particle] > 0)]), atol=1e-14)


def test_coordinates_are_a_copy_that_can_be_differentiated_by(build):
    configuration = cluster(5)
    inputs = build(configuration)
    assert inputs.leaf is inputs.arguments[1]
    assert inputs.leaf.requires_grad
    assert inputs.leaf.is_leaf
    with torch.no_grad():
        inputs.leaf.add_(1)
    np.testing.assert_array_equal(configuration.coordinates, cluster(5).coordinates)


def test_float32(build):
    configuration = cluster(5)
    coordinates = build(configuration, torch.float32).leaf
    assert coordinates.dtype is torch.float32
    assert coordinates.requires_grad
    np.testing.assert_array_equal(coordinates.detach().cpu().numpy(), configuration.coordinates.astype(np.float32))


@pytest.mark.parametrize("mixed", [False, True])
def test_atomic_numbers(build, mixed):
    configuration = cluster(9, n_contributing=4, n_species=3)
    configuration = interleaved(configuration) if mixed else configuration
    inputs = build(configuration, atomic_numbers=True)
    rows = inputs.particle_of_row.cpu().numpy() if mixed else slice(None)
    expected = np.array([14, 6, 8])[configuration.species_codes[rows]]
    assert inputs.arguments[0].tolist() == expected.tolist()
    assert inputs.arguments[0].dtype is torch.int64


def test_one_particle(build):
    inputs = build(Configuration([[1, 2, 3]], [2], [1]))
    assert [tensor.tolist() for tensor in inputs.arguments] == [[2], [[1.0, 2.0, 3.0]], [0], [], [1]]
    assert inputs.n_pairs == 0


def test_results_go_back_to_their_particles(build, device):
    configuration = interleaved(cluster(12, n_contributing=7))
    inputs = build(configuration)
    rows = inputs.leaf.detach() * 2
    np.testing.assert_array_equal(inputs.by_particle(rows, 12).cpu().numpy(), configuration.coordinates * 2)
    assert inputs.by_particle(rows, 12).device == device
