# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models of the kind edges that have more layers than their model.toml says: their users are warned once."""

import pytest
import torch
from models import Edges1, Edges3, Graph1, Graph2, script_bytes
from opening import open_described
from torch import Tensor


@pytest.fixture
def warnings_of(tmp_path, talkative, capfd):
    """Return a function that opens a model, and returns it with the warnings that come."""

    def function(script, **changes):
        model = open_described(tmp_path, script, **changes)
        return model, [line for line in capfd.readouterr().err.splitlines() if "warning" in line]

    return function


class TwoSteps(Edges1):
    """Reaches two cutoffs far, but only the second species does."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        of_edges = torch.exp(-edge_vectors.square().sum(1))
        zeros = torch.zeros(species.size(0), dtype=edge_vectors.dtype)
        features = zeros.index_add(0, edge_index[0], of_edges * species[edge_index[1]].to(edge_vectors.dtype))
        return features.index_add(0, edge_index[0], features[edge_index[1]])


REMEDY = "correct `layers`"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("species", [["Si"], ["Si", "C", "O"]])
@pytest.mark.parametrize(("layers", "is_warned"), [(1, True), (2, True), (3, False), (4, False), (7, False)])
def test_fewer_layers_than_the_model_has(warnings_of, dtype, species, layers, is_warned):
    _, warnings = warnings_of(script_bytes(Edges3, dtype), layers=layers, species=species)
    assert len(warnings) == is_warned
    assert all(REMEDY in warning for warning in warnings)


def test_what_is_said_of_fewer_layers(warnings_of):
    model, (warning,) = warnings_of(script_bytes(Edges3), layers=2)
    beginning = "[kim-torchml] warning: the energy of the model in model.pt changes by "
    end = (
        " eV where particles are added beyond 2 x cutoff, so it gives wrong energies; correct `layers` in model.toml, "
        "the cutoff, or the model"
    )
    assert warning.startswith(beginning)
    assert warning.endswith(end)
    assert 1e-6 < float(warning.removeprefix(beginning).removesuffix(end)) < 1e-3
    # It is said once, though simulators create a model several times.
    assert model.prepare()


def test_a_species_that_reaches_farther(warnings_of):
    assert warnings_of(script_bytes(TwoSteps), layers=2, species=["Si", "C"])[1] == []
    _, (warning,) = warnings_of(script_bytes(TwoSteps), layers=1, species=["Si", "C"])
    assert REMEDY in warning


class Random(Edges3):
    """Gives another energy every time."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return torch.rand([species.size(0)]).to(edge_vectors.dtype) + 0.0 * edge_vectors.sum()


@pytest.mark.parametrize("kind", [Random])
def test_models_of_which_the_probe_tells_nothing(warnings_of, kind):
    assert warnings_of(script_bytes(kind), layers=1)[1] == []


@pytest.mark.parametrize("layers", [1, 2])
def test_other_kinds_are_not_probed_for_reach(warnings_of, layers):
    """They are given the edges of each layer."""
    script = script_bytes({1: Graph1, 2: Graph2}[layers])
    assert warnings_of(script, kind="graph", layers=layers)[1] == []
