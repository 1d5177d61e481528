# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models of the kind edges that have more layers than their model.toml says are refused."""

import re

import pytest
import torch
from models import Edges1, Edges3, Graph1, Graph2, script_bytes
from opening import open_described
from torch import Tensor

from kim_torchml.errors import DriverError

REFUSAL = (
    r"the energy of the model in model\.pt must depend on nothing beyond {layers} x cutoff, as `layers` in model\.toml "
    r"says, got a change by (\S+) eV where particles are added there; correct `layers`, the cutoff, or the model"
)


class TwoSteps(Edges1):
    """Reaches two cutoffs far, but only the second species does."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        of_edges = torch.exp(-edge_vectors.square().sum(1))
        zeros = torch.zeros(species.size(0), dtype=edge_vectors.dtype)
        features = zeros.index_add(0, edge_index[0], of_edges * species[edge_index[1]].to(edge_vectors.dtype))
        return features.index_add(0, edge_index[0], features[edge_index[1]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("species", [["Si"], ["Si", "C", "O"]])
@pytest.mark.parametrize("layers", [3, 4, 7])
def test_as_many_layers_as_the_model_has_or_more(tmp_path, dtype, species, layers):
    assert open_described(tmp_path, script_bytes(Edges3, dtype), layers=layers, species=species).prepare()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("species", [["Si"], ["Si", "C", "O"]])
@pytest.mark.parametrize("layers", [1, 2])
def test_fewer_layers_than_the_model_has(tmp_path, dtype, species, layers):
    with pytest.raises(DriverError) as raised:
        open_described(tmp_path, script_bytes(Edges3, dtype), layers=layers, species=species)
    found = re.fullmatch(REFUSAL.format(layers=layers), str(raised.value))
    assert found
    assert 1e-6 < float(found[1]) < 1.0


def test_a_species_that_reaches_farther(tmp_path):
    assert open_described(tmp_path, script_bytes(TwoSteps), layers=2, species=["Si", "C"]).prepare()
    with pytest.raises(DriverError, match=REFUSAL.format(layers=1)):
        open_described(tmp_path, script_bytes(TwoSteps), layers=1, species=["Si", "C"])


class Random(Edges3):
    """Gives another energy every time."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return torch.rand([species.size(0)]).to(edge_vectors.dtype) + 0.0 * edge_vectors.sum()


def test_models_of_which_the_probe_tells_nothing(tmp_path):
    assert open_described(tmp_path, script_bytes(Random), layers=1).prepare()


@pytest.mark.parametrize("layers", [1, 2])
def test_other_kinds_are_not_probed_for_reach(tmp_path, layers):
    """They are given the edges of each layer."""
    script = script_bytes({1: Graph1, 2: Graph2}[layers])
    assert open_described(tmp_path, script, kind="graph", layers=layers).prepare()


class OfOneKind(Edges3):
    """Passes messages between particles of one species alone."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        centre, neighbour = edge_index[0], edge_index[1]
        strengths = torch.exp(-edge_vectors.square().sum(1)) * (species[centre] == species[neighbour])
        features = torch.ones(species.size(0), dtype=edge_vectors.dtype)
        for _ in range(3):
            features = torch.zeros_like(features).index_add(0, centre, strengths * (1.0 + features[neighbour]))
        return features


@pytest.mark.parametrize("layers", [1, 2])
def test_messages_between_like_particles_alone(tmp_path, layers):
    script, species = script_bytes(OfOneKind), ["Si", "C"]
    assert open_described(tmp_path, script, layers=3, species=species).prepare()
    with pytest.raises(DriverError, match=REFUSAL.format(layers=layers)):
        open_described(tmp_path, script, layers=layers, species=species)
