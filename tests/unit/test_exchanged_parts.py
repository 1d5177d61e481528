# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts that converters put into networks: ranks exchange what a layer gathers, and one rank has the same bits."""

import pytest
import torch
from exchanging_networks import Forgetful, Passing
from exporting import exported_bytes
from models import script_bytes
from opening import open_model
from program_files import inputs_of, needs_export, signature_of
from saving import save
from torch import Tensor, nn

import kim_torchml
from kim_torchml.engines import open_program
from kim_torchml.engines.exchange import exchanging
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.exchange_probe import fault_of_exchange
from kim_torchml.process import settings
from kim_torchml.tools.convert.exchanged import ExchangedEntry, ExchangedFeatures, exchange_what_comes_of
from kim_torchml.tools.convert.own_rows import OfOwnRows, OfOwnRowsAndAttributes

CPU = torch.device("cpu")
N_LAYERS, WIDTH = 4, 5


class Layer(nn.Module):
    """A layer that gathers what two parts of it give, as some of a package do."""

    def __init__(self):
        super().__init__()
        self.linear_up = nn.Linear(WIDTH, WIDTH, dtype=torch.float64)
        self.linear_down = nn.Linear(WIDTH, 2, dtype=torch.float64)

    def forward(self, features: Tensor, edge_index: Tensor, weights: Tensor) -> Tensor:
        up, down = self.linear_up(features), self.linear_down(features)
        gathered = up[edge_index[1]] * down[edge_index[1]].sum(1, keepdim=True)
        return features + torch.tanh(torch.zeros_like(features).index_add(0, edge_index[0], weights * gathered))


class OfFeatures(nn.Module):
    """A network whose layers take features, with exchanges in some of them."""

    def __init__(self, exchanging=range(1, N_LAYERS), names=("linear_up", "linear_down", "linear_of_others")):
        super().__init__()
        torch.manual_seed(5)
        self.species = nn.Embedding(2, WIDTH, dtype=torch.float64)
        self.layers = nn.ModuleList(Layer() for _ in range(N_LAYERS))
        for index in exchanging:
            exchange_what_comes_of(self.layers[index], *names)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        weights = torch.exp(-edge_vectors.square().sum(1, keepdim=True))
        features = self.species(species)
        for layer in self.layers:
            features = layer(features, edge_index, weights)
        return features.sum(1)


class Entry(nn.Module):
    """A part that takes all from a dictionary."""

    def __init__(self):
        super().__init__()
        self.layer = Layer()

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        data["features"] = self.layer(data["features"], data["edge_index"], data["weights"])
        return data


class OfEntries(nn.Module):
    """A network whose layers take a dictionary, with exchanges before some of them."""

    def __init__(self, exchanging=range(1, N_LAYERS)):
        super().__init__()
        torch.manual_seed(5)
        self.species = nn.Embedding(2, WIDTH, dtype=torch.float64)
        parts = [Entry() for _ in range(N_LAYERS)]
        self.parts = nn.ModuleList(
            ExchangedEntry(part, "features") if index in exchanging else part for index, part in enumerate(parts)
        )

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        weights = torch.exp(-edge_vectors.square().sum(1, keepdim=True))
        data = {"features": self.species(species), "edge_index": edge_index, "weights": weights}
        for part in self.parts:
            data = part(data)
        return data["features"].sum(1)


class OfFewRows(OfFeatures):
    """A network that computes own rows alone, but in the first layer what it gathers."""

    def __init__(self, exchanging=range(1, N_LAYERS)):
        super().__init__(())
        self.scale = OfOwnRowsAndAttributes(nn.Bilinear(WIDTH, WIDTH, WIDTH, dtype=torch.float64))
        for index, layer in enumerate(self.layers):
            if index:
                layer.linear_up, layer.linear_down = OfOwnRows(layer.linear_up), OfOwnRows(layer.linear_down)
            if index in exchanging:
                exchange_what_comes_of(layer, "linear_up", "linear_down")

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        weights = torch.exp(-edge_vectors.square().sum(1, keepdim=True))
        initial = self.species(species)
        features = initial
        for layer in self.layers:
            features = self.scale(layer(features, edge_index, weights), initial)
        return features.sum(1)


BOTH = pytest.mark.parametrize("kind", [OfFeatures, OfEntries, OfFewRows])
FORMATS = pytest.mark.parametrize("suffix", ["pt", pytest.param("pt2", marks=needs_export)])


@pytest.fixture
def edges(tmp_path, monkeypatch):
    """Builder of the inputs of a network of so many layers, for two species."""
    monkeypatch.setenv(settings.EDGES, "staged")
    stated = {"kind": "Edges", "n_layers": N_LAYERS, "elements": ("Si", "Ge"), "cutoff": 4.0}
    return open_model(tmp_path, script_bytes(Passing), **stated)._opened.inputs


def opened(kind, suffix, **arguments):
    """Return the program of a network in one of the two formats."""
    content = script_bytes(kind, **arguments) if suffix == "pt" else exported_bytes(lambda: kind(**arguments))
    return open_program(content, f"x.{suffix}", CPU, signature_of())


@BOTH
@FORMATS
def test_one_rank_has_the_same_bits(kind, suffix):
    inputs = inputs_of(9, 60)
    found, expected = (
        opened(kind, suffix, **each).run(inputs, wants_gradient=True) for each in ({}, {"exchanging": ()})
    )
    assert torch.equal(found.energies, expected.energies)
    assert torch.equal(found.gradient, expected.gradient)


@BOTH
@FORMATS
def test_copied_rows_get_what_their_owners_have(edges, kind, suffix):
    program = opened(kind, suffix)
    assert program.n_exchanges == (3 if kind is OfEntries else 6)
    assert fault_of_exchange(program, edges) == ""


@BOTH
@FORMATS
@pytest.mark.parametrize("forgotten", range(1, N_LAYERS))
def test_each_of_the_exchanges_is_needed(edges, kind, suffix, forgotten):
    program = opened(kind, suffix, exchanging=tuple(each for each in range(1, N_LAYERS) if each != forgotten))
    assert "must give the same where rows are copies" in fault_of_exchange(program, edges)


def test_both_of_two_parts_are_needed(edges):
    program = opened(OfFeatures, "pt", names=("linear_up",))
    assert "it calls that 3 times for 4 layers" in fault_of_exchange(program, edges)


def test_rows_of_others_are_not_computed():
    part = OfOwnRows(nn.Linear(WIDTH, 3, dtype=torch.float64))

    class Carrier:
        n_own = 4

    with exchanging(Carrier()):
        found = part(torch.ones(6, WIDTH, dtype=torch.float64))
    assert (found[:4] == part.part(torch.ones(WIDTH, dtype=torch.float64))).all()
    assert (found[4:] == 0.0).all()
    alone = part(torch.ones(6, WIDTH, dtype=torch.float64))
    assert (alone != 0.0).all()


def test_a_part_stays_what_it_is():
    part = nn.Linear(3, 2, device=CPU, dtype=torch.float64)
    layer = nn.Sequential()
    layer.add_module("linear_up", part)
    exchange_what_comes_of(layer, "linear_up", "linear_down")
    (exchanged,) = layer.children()
    assert isinstance(exchanged, ExchangedFeatures)
    assert exchanged.part is part


def test_a_model_that_forgets_an_exchange_is_not_written(tmp_path):
    stated = {"kind": "edges", "cutoff": 4.0, "layers": 3}
    with pytest.raises(DriverError, match=r"rows are copies that .*exchange fills, got energies .* that differ by"):
        save(lambda: Forgetful().double(), tmp_path / "model", **stated)
    assert list(tmp_path.iterdir()) == []
    written = kim_torchml.save_model(Passing().double(), tmp_path / "model", name="M", species=["Si", "C"], **stated)
    assert "compared for" in str(written)
