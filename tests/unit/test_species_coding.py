# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that expect atomic numbers and get species codes: their users are warned once."""

import weakref

import pytest
import torch
from models import Graph2, PairOfAll, script_bytes
from opening import open_model
from torch import Tensor, nn

from kim_torchml.driver import opened_models


class NamedZ(nn.Module):
    def forward(
        self, z: Tensor, coordinates: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return coordinates.square().sum(1)[: counts.size(0)]


class Embedded(nn.Module):
    """A model that looks its first argument up in an embedding."""

    def __init__(self, n_rows):
        super().__init__()
        self.embedding = nn.Embedding(n_rows, 3)

    def features(self, codes: Tensor) -> Tensor:
        return self.embedding(codes)

    def energies(self, features: Tensor, coordinates: Tensor, counts: Tensor) -> Tensor:
        return (features.sum(1) + coordinates.square().sum(1))[: counts.size(0)]

    def forward(
        self, species: Tensor, coordinates: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.energies(self.features(species), coordinates, counts)


class EmbeddedByIndex(Embedded):
    def features(self, codes: Tensor) -> Tensor:
        return self.embedding.weight[codes]


class EmbeddedByIndexSelect(Embedded):
    def features(self, codes: Tensor) -> Tensor:
        return self.embedding.weight.index_select(0, codes + 0)


class EmbeddedInBranch(Embedded):
    def features(self, codes: Tensor) -> Tensor:
        if codes.size(0) > 3:
            return self.embedding(codes)
        return self.embedding(codes.flip([0])).flip([0])


class OneHot(Embedded):
    def features(self, codes: Tensor) -> Tensor:
        return nn.functional.one_hot(codes, 100).to(torch.float64)


class EmbeddedByTake(Embedded):
    def features(self, codes: Tensor) -> Tensor:
        return torch.take(self.embedding.weight, codes).unsqueeze(1)


class EmbeddedNeighbours(nn.Module):
    """A model that looks up the species at the other end of each edge."""

    def __init__(self, n_rows, by="index"):
        super().__init__()
        self.embedding = nn.Embedding(n_rows, 3)
        self.by: torch.jit.Final[str] = by

    def forward(self, species: Tensor, coordinates: Tensor, edges: Tensor, contributing: Tensor) -> Tensor:
        if self.by == "index":
            codes = species[edges[1]]
        elif self.by == "index_select":
            codes = species.index_select(0, edges[1])
        else:
            codes = species.gather(0, edges[1])
        return coordinates.square().sum(1)[contributing == 0] + 0 * self.embedding(codes).sum()


class TableOfPairs(nn.Module):
    """A model with a row for each pair of species."""

    def __init__(self, n_rows):
        super().__init__()
        self.embedding = nn.Embedding(n_rows, 3)

    def forward(self, species: Tensor, coordinates: Tensor, edges: Tensor, contributing: Tensor) -> Tensor:
        pairs = species[edges[0]] * 5 + species[edges[1]]
        return coordinates.square().sum(1)[contributing == 0] + 0 * self.embedding(pairs).sum()


class EmbeddedFlags(Embedded):
    """A model that looks up whether particles contribute."""

    def forward(
        self, species: Tensor, coordinates: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.energies(self.features(contributing), coordinates, counts)


@pytest.fixture
def warnings_of(tmp_path, talkative, capfd, monkeypatch):
    """Return a function that opens a model anew, and returns the warnings that come."""
    monkeypatch.setattr(opened_models, "_living", weakref.WeakSet())

    def function(script, **parameters):
        open_model(tmp_path, script, **parameters).prepare()
        return [line for line in capfd.readouterr().err.splitlines() if "warning" in line]

    return function


def test_a_first_argument_called_z(warnings_of):
    (warning,) = warnings_of(script_bytes(NamedZ))
    assert warning == (
        "[kim-torchml] warning: the model in model.pt gets species codes (0, 1, ..), but may expect atomic numbers: "
        "its first argument is called z; if it was trained on atomic numbers, set KIM_MODEL_ELEMENTS_MAP=1"
    )


NAMES = [
    "z",
    "Z",
    "zs",
    "z_list",
    "node_z",
    "atomic_numbers",
    "atomic_nums",
    "AtomicNumber",
    "numbers",
    "nuclear_charges",
    "nuclear_charge",
    "atomic_no",
    "anum",
    "proton_numbers",
    "zlist",
    "element_numbers",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_atomic_numbers(name, warnings_of, monkeypatch):
    from kim_torchml.engines.torchscript.program import TorchScriptProgram

    monkeypatch.setattr(TorchScriptProgram, "argument_names", lambda self: [name, "coordinates"])
    (warning,) = warnings_of(script_bytes(PairOfAll))
    assert f"its first argument is called {name};" in warning


OTHER_NAMES = [
    "species",
    "atom_types",
    "codes",
    "x",
    "elements",
    "types",
    "node_attr",
    "size",
    "atomic_nodes",
    "charge",
]


@pytest.mark.parametrize("name", [*OTHER_NAMES, "num_elements", "atom_notes", "protonated", "element_types"])
def test_names_that_say_nothing_of_atomic_numbers(name, warnings_of, monkeypatch):
    from kim_torchml.engines.torchscript.program import TorchScriptProgram

    monkeypatch.setattr(TorchScriptProgram, "argument_names", lambda self: [name, "coordinates"])
    assert warnings_of(script_bytes(PairOfAll)) == []


LOOKING_UP = [*(Embedded, EmbeddedByIndex, EmbeddedByIndexSelect, EmbeddedByTake, EmbeddedInBranch, OneHot)]


@pytest.mark.parametrize("kind", LOOKING_UP)
def test_a_table_with_room_for_all_elements(kind, warnings_of):
    (warning,) = warnings_of(script_bytes(kind, n_rows=100), elements=("Si", "C"))
    table = "one_hot" if kind is OneHot else "embedding.weight"
    assert f"expect atomic numbers: its table `{table}` of species has 100 rows for 2 elements; if it" in warning


@pytest.mark.parametrize("by", ["index", "index_select", "gather"])
def test_a_table_that_edges_look_up(by, warnings_of):
    (warning,) = warnings_of(script_bytes(EmbeddedNeighbours, n_rows=100, by=by), kind="Graph", n_layers=1)
    assert "its table `embedding.weight` of species has 100 rows for 1 element;" in warning


def test_a_table_of_pairs_of_species(warnings_of):
    elements = ["H", "C", "N", "O", "F"]
    script = script_bytes(TableOfPairs, n_rows=len(elements) ** 2)
    assert warnings_of(script, kind="Graph", n_layers=1, elements=elements) == []


@pytest.mark.parametrize(
    ("n_rows", "elements"), [(2, ["Si", "C"]), (10, ["Si", "C"]), (4, ["H"]), (30, ["Fe", *"HCNOFPS"])]
)
def test_a_table_of_species_codes(n_rows, elements, warnings_of):
    assert warnings_of(script_bytes(Embedded, n_rows=n_rows), elements=elements) == []


def test_a_table_of_something_else(warnings_of):
    assert warnings_of(script_bytes(EmbeddedFlags, n_rows=100)) == []


def test_a_frozen_model(tmp_path, warnings_of):
    """Its tables are constants of the code."""
    module = torch.jit.freeze(torch.jit.script(Embedded(100).to(torch.float64)).eval())
    module.save(str(tmp_path / "frozen.pt"))
    (warning,) = warnings_of((tmp_path / "frozen.pt").read_bytes())
    assert "its table `a constant` of species has 100 rows for 1 element;" in warning


def test_with_atomic_numbers_there_is_nothing_to_warn_of(warnings_of, monkeypatch):
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    assert warnings_of(script_bytes(Embedded, n_rows=100)) == []
    assert warnings_of(script_bytes(NamedZ)) == []


def test_models_that_behave_well(warnings_of):
    assert warnings_of(script_bytes(PairOfAll)) == []
    assert warnings_of(script_bytes(Graph2), kind="Graph", n_layers=2) == []
