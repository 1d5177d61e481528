# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tensors that a model of preprocessing Graph is called with."""

import numpy as np
import pytest
import torch
from models import CUTOFF
from opening import folder_of, parameter_text
from particles import Configuration, cluster, interleaved

from kim_torchml.inputs import Particles, make_inputs


@pytest.fixture
def make(tmp_path):
    """Return a function that makes the builder of inputs for a number of layers."""

    def function(n_layers, atomic_numbers=False):
        text = parameter_text("Graph", elements=("Si", "C", "O"), n_layers=n_layers)
        (tmp_path / "kim.param").write_text(text)
        return make_inputs(folder_of(tmp_path / "kim.param", atomic_numbers))

    return function


def particles_of(configuration):
    flags = configuration.contributing.astype(bool)
    return Particles(configuration.coordinates, configuration.species_codes, flags, configuration.neighbours())


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_types_shapes_and_device(make, n_layers, device):
    configuration = interleaved(cluster(12, n_contributing=7, n_species=3))
    inputs = make(n_layers).build(particles_of(configuration), torch.float64, device)
    species, coordinates, *edges, mask = inputs.arguments
    assert {tensor.device for tensor in inputs.arguments} == {device}
    assert [tensor.dtype for tensor in (species, coordinates, mask)] == [torch.int64, torch.float64, torch.int64]
    assert species.tolist() == configuration.species_codes.tolist()
    assert coordinates.tolist() == configuration.coordinates.tolist()
    assert mask.tolist() == [1 - flag for flag in configuration.contributing]
    assert inputs.particle_of_row is None
    stages = configuration.neighbours().edge_sets(CUTOFF, n_layers)
    assert len(edges) == n_layers
    for edge_index, expected in zip(edges, stages, strict=True):
        assert edge_index.dtype is torch.int64
        assert edge_index.is_contiguous()
        assert edge_index.T.tolist() == [list(pair) for pair in sorted(expected)]
    assert inputs.n_pairs == len(stages[0])


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_how_far_a_model_reaches(make, n_layers):
    kind = make(n_layers)
    assert kind.cutoff == CUTOFF
    assert kind.influence_distance == n_layers * CUTOFF
    assert kind.needs_noncontributing_neighbours is (n_layers > 1)


def test_coordinates_are_a_copy_that_can_be_differentiated_by(make, device):
    configuration = cluster(5)
    inputs = make(1).build(particles_of(configuration), torch.float32, device)
    assert inputs.leaf is inputs.arguments[1]
    assert inputs.leaf.requires_grad
    assert inputs.leaf.is_leaf
    assert inputs.leaf.dtype is torch.float32
    with torch.no_grad():
        inputs.leaf.add_(1)
    np.testing.assert_array_equal(configuration.coordinates, cluster(5).coordinates)


def test_atomic_numbers(make, device):
    configuration = cluster(7, n_species=3)
    inputs = make(1, atomic_numbers=True).build(particles_of(configuration), torch.float64, device)
    assert inputs.arguments[0].tolist() == [14, 6, 8, 14, 6, 8, 14]


def test_particles_without_pairs(make, device):
    configuration = Configuration([[0, 0, 0], [100, 0, 0]], [0, 1], [1, 1])
    inputs = make(2).build(particles_of(configuration), torch.float64, device)
    assert [edges.shape for edges in inputs.arguments[2:-1]] == [(2, 0), (2, 0)]
    assert inputs.n_pairs == 0


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("atomic_numbers", [False, True])
def test_one_particle_gets_a_second_one_out_of_reach(make, n_layers, atomic_numbers, device):
    configuration = Configuration([[1, 2, 3]], [2], [1])
    inputs = make(n_layers, atomic_numbers).build(particles_of(configuration), torch.float64, device)
    species, coordinates, *edges, mask = inputs.arguments
    assert {tensor.device for tensor in inputs.arguments} == {device}
    assert species.tolist() == ([8, 8] if atomic_numbers else [2, 2])
    assert coordinates[0].tolist() == [1.0, 2.0, 3.0]
    assert (coordinates[1] - coordinates[0]).norm() > n_layers * CUTOFF
    assert [edge_index.shape for edge_index in edges] == [(2, 0)] * n_layers
    assert {edge_index.dtype for edge_index in edges} == {torch.int64}
    assert mask.tolist() == [0, 1]
    assert mask.dtype is torch.int64
    assert inputs.by_particle(coordinates.detach(), 1).tolist() == [[1.0, 2.0, 3.0]]
    assert inputs.n_pairs == 0
