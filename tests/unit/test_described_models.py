# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models with a model.toml: what it says holds, and one call at the beginning confirms what it says of the model."""

import io

import numpy as np
import pytest
import torch
from models import (
    Edges1,
    Edges3,
    Graph1,
    Graph3,
    PairOfAll,
    PairOfContributing,
    PairTotal,
    PairWithForces,
    script_bytes,
)
from opening import ALL, compute, energy, open_described, open_model
from particles import Configuration, cluster
from test_parameters import Layers, by_name, set_values
from torch import Tensor, nn

from kim_torchml.errors import DriverError

PROBE = " (found by a probe with 5 particles, 3 of them contributing)"
CALLED = "the model is called with species [n], edge_index [2, E] and edge_vectors [E, 3], floating numbers in "
CLUSTER = cluster(8, 3.0, n_contributing=5, n_species=2)


@pytest.fixture
def described(tmp_path):
    return lambda script, **changes: open_described(tmp_path, script, **changes)


@pytest.fixture
def warnings_of(described, talkative, capfd):
    """Return a function that opens a model, and returns it with the warnings that come."""

    def function(script, **changes):
        model = described(script, **changes)
        return model, [line for line in capfd.readouterr().err.splitlines() if "warning" in line]

    return function


def error_of(described, script, **changes):
    with pytest.raises(DriverError) as raised:
        described(script, **changes)
    message = str(raised.value)
    assert message.isprintable()
    assert len(message) < 600
    return message


class EchoSpecies(nn.Module):
    """Returns, as the energy of a row, the number that it is given for the species."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.register_buffer("factor", torch.tensor([factor]))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return self.factor * species.to(edge_vectors.dtype) + 0.0 * edge_vectors.sum()


@pytest.mark.parametrize("switch", ["0", "1"])
@pytest.mark.parametrize(("word", "expected"), [("codes", [1, 0, 2]), ("atomic numbers", [8, 14, 6])])
def test_species_are_what_the_file_says_whatever_the_environment_says(described, monkeypatch, switch, word, expected):
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", switch)
    model = described(script_bytes(EchoSpecies), species=["Si", "O", "C"], species_as=word)
    configuration = Configuration(5.0 * np.arange(9).reshape(3, 3), [1, 0, 2], [1, 1, 1])
    assert compute(model, configuration)["partialParticleEnergy"].tolist() == expected


@pytest.mark.parametrize("kind", ["none", "graph"])
def test_the_same_holds_for_the_other_kinds(described, monkeypatch, kind, tmp_path):
    script = script_bytes({"none": PairOfAll, "graph": Graph1}[kind])
    changes = {"kind": kind, "species": ["Si", "C"], "layers": 1 if kind == "graph" else None}
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    codes = energy(described(script, **changes), CLUSTER)
    numbers = energy(described(script, species_as="atomic numbers", **changes), CLUSTER)
    old = {"kind": kind.capitalize(), "elements": ["Si", "C"]}
    assert numbers == energy(open_model(tmp_path / "1", script, **old), CLUSTER)
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "0")
    assert codes == energy(open_model(tmp_path / "0", script, **old), CLUSTER)
    assert codes != pytest.approx(numbers, rel=1e-3)


def test_what_is_said_of_numbers_that_are_not_finite(described):
    """It names the key of model.toml, not the variable, and only where it may help."""
    script = script_bytes(EchoSpecies, factor=float("nan"))
    usual = "look for particles that are too close to each other, or for a division by zero in the model"
    beginning = "the energy of the model in model.pt must be finite, got NaN; "
    for word, advice in {
        "codes": 'if it was trained on atomic numbers, write species_as = "atomic numbers" in model.toml; otherwise ',
        "atomic numbers": "",
    }.items():
        model = described(script, species_as=word)
        with pytest.raises(DriverError) as raised:
            energy(model, cluster(5))
        assert str(raised.value) == f"{beginning}{advice}{usual}"


class NanOfDescriptors(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, descriptors: Tensor) -> Tensor:
        return self.layer(descriptors).sum(1) * float("nan")


def test_descriptors_have_no_advice_on_atomic_numbers(described):
    model = described(
        script_bytes(NanOfDescriptors),
        kind="descriptor",
        descriptor="cos\n1\nSi Si 2.5\n1\ng2 1 2\n0.5 1.0\n",
        tables='[descriptor]\nname = "SymmetryFunctions"\nfile = "descriptor.dat"\n',
    )
    with pytest.raises(
        DriverError, match=r"^the energy of .* must be finite, got NaN; look for particles that are too"
    ):
        energy(model, cluster(5))


def test_a_descriptor_file_that_does_not_fit_is_compared_with_model_toml(described):
    tables = '[descriptor]\nname = "SymmetryFunctions"\nfile = "descriptor.dat"\n'
    text = "cos\n1\nSi Si 3.0\n1\ng2 1 2\n0.5 1.0\n"
    message = error_of(
        described, script_bytes(NanOfDescriptors), kind="descriptor", descriptor=text, tables=tables, cutoff=2.5
    )
    assert message.startswith(
        "`cutoff` must be 2.5 Å, model.toml's, where it is largest, got '3.0' (file descriptor.dat, "
    )
    message = error_of(
        described, script_bytes(NanOfDescriptors), kind="descriptor", descriptor=text, tables=tables.replace("S", "T")
    )
    assert message.endswith(
        "got 'TymmetryFunctions'; correct the name in model.toml, or update the driver when a version with it is out"
    )


class NamedZ(Edges1):
    def forward(self, atomic_numbers: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return atomic_numbers.to(edge_vectors.dtype) + 0.0 * edge_vectors.sum()


def test_a_model_that_may_expect_atomic_numbers(warnings_of):
    _, (warning,) = warnings_of(script_bytes(NamedZ))
    assert warning == (
        "[kim-torchml] warning: the model in model.pt gets species codes (0, 1, ..), but may expect atomic numbers: "
        "its first argument is called atomic_numbers; if it was trained on atomic numbers, write species_as = "
        '"atomic numbers" in model.toml'
    )
    assert warnings_of(script_bytes(NamedZ), species_as="atomic numbers")[1] == []


class Swapped(Edges1):
    """Takes its arguments in another order."""

    def forward(self, species: Tensor, edge_vectors: Tensor, edge_index: Tensor) -> Tensor:
        energies = torch.zeros(species.size(0), dtype=edge_vectors.dtype)
        return energies.index_add(0, edge_index[0], edge_vectors.square().sum(1))


class TwoArguments(Edges1):
    def forward(self, species: Tensor, edge_index: Tensor) -> Tensor:
        return species.to(torch.float64)


class OfFourVectors(Edges1):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return (edge_vectors @ torch.ones([4, 1], dtype=edge_vectors.dtype)).sum(1)


class Linear(Edges1):
    """A model whose matrix product does not convert types."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        energies = torch.zeros(species.size(0), dtype=edge_vectors.dtype)
        return energies.index_add(0, edge_index[0], self.layer(edge_vectors)[:, 0])


@pytest.mark.parametrize(
    ("model", "changes", "takes", "stated"),
    [
        (TwoArguments, {}, 2, '3 inputs, as model.toml says (kind = "edges")'),
        (Graph3, {"layers": 3}, 6, '3 inputs, as model.toml says (kind = "edges")'),
        (Edges3, {"kind": "graph", "layers": 3}, 3, '6 inputs, as model.toml says (kind = "graph", layers = 3)'),
        (Graph3, {"kind": "graph", "layers": 2}, 6, '5 inputs, as model.toml says (kind = "graph", layers = 2)'),
        (Edges3, {"kind": "none"}, 3, '5 inputs, as model.toml says (kind = "none")'),
    ],
)
def test_another_number_of_arguments(described, model, changes, takes, stated):
    assert error_of(described, script_bytes(model), **changes) == (
        f"the model in model.pt must take {stated}, but its forward takes {takes}; correct what that file says, or the "
        "model"
    )


@pytest.mark.parametrize(("model", "reason"), [(Swapped, "but got: Double"), (OfFourVectors, "18x3 and 4x1")])
def test_arguments_of_another_shape_or_in_another_order(described, model, reason):
    message = error_of(described, script_bytes(model))
    assert message.startswith("the model in model.pt raised an error: ")
    assert reason in message
    assert message.endswith(f"; call it with the same tensors in Python to see more; {CALLED}float64{PROBE}")


def test_the_arguments_of_another_kind(described):
    message = error_of(described, script_bytes(PairTotal), kind="graph", layers=2)
    assert message.endswith(
        "the model is called with species [n], coordinates [n, 3], edge_index_1 [2, E_1], edge_index_2 [2, E_2] and "
        f"mask [n], floating numbers in float64{PROBE}"
    )


@pytest.mark.parametrize(("own", "said"), [(torch.float32, "float64"), (torch.float64, "float32")])
def test_another_floating_type(described, own, said):
    message = error_of(described, script_bytes(Linear, own), dtype=said)
    assert "must have the same dtype" in message
    assert message.endswith(
        f'; {CALLED}{said}; model.toml says dtype = "{said}", and the model\'s own tensors are of '
        f"{str(own).removeprefix('torch.')}{PROBE}"
    )


def test_a_floating_type_that_is_not_that_of_the_weights(described):
    """A model of single precision may take vectors of double precision."""
    model = described(script_bytes(Edges1, torch.float32), dtype="float64", species=["Si", "C"])
    expected = energy(described(script_bytes(Edges1), species=["Si", "C"]), CLUSTER)
    assert energy(model, CLUSTER) == pytest.approx(expected, rel=1e-6)
    inputs = []
    plain = model._program._forward
    model._program._forward = lambda arguments: inputs.append(arguments) or plain(arguments)
    energy(model, CLUSTER)
    assert inputs[0][2].dtype is torch.float64


class ReturningAnother(Edges1):
    """Returns an energy of a wrong shape, as its name says."""

    what: str

    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        of_edges = edge_vectors.square().sum(1)
        energies = torch.zeros(species.size(0), dtype=edge_vectors.dtype).index_add(0, edge_index[0], of_edges)
        if self.what == "edges":
            return of_edges
        if self.what == "total":
            return energies.sum()
        if self.what == "contributing":
            return energies[:3]
        if self.what == "one less for many" and species.size(0) > 5:
            return energies[:-1]
        return energies.unsqueeze(1)


@pytest.mark.parametrize(("what", "shape"), [("edges", "[18]"), ("total", "[]"), ("contributing", "[3]")])
def test_edges_models_return_an_energy_for_each_row(described, what, shape):
    assert error_of(described, script_bytes(ReturningAnother, what=what)) == (
        "the energy of the model in model.pt must have one entry for each of the 5 rows, also for those that do not "
        f"contribute, got the shape {shape}; return one energy for each row; {CALLED}float64{PROBE}"
    )


def test_a_number_of_energies_that_is_wrong_later(described):
    model = described(script_bytes(ReturningAnother, what="one less for many"), species=["Si", "C"])
    assert energy(model, cluster(4)) > 0
    with pytest.raises(
        DriverError, match=r"^the energy of .* must have 8 entries \(one per particle\), got the shape \[7\]"
    ):
        energy(model, CLUSTER)


DECLARED = [
    (PairTotal, "per particle", "one number"),
    (PairOfAll, "total", "one per particle"),
    (PairOfContributing, "total", "one per contributing particle"),
]


@pytest.mark.parametrize(("model", "said", "found"), DECLARED, ids=lambda each: getattr(each, "__name__", ""))
def test_the_energy_is_what_the_file_says(described, model, said, found):
    assert error_of(described, script_bytes(model), kind="none", energy=said).startswith(
        f'the energy of the model in model.pt must be "{said}", as model.toml says, got {found}; correct `energy` '
        "there, or the model"
    )
    right = {"total": "per particle", "per particle": "total"}[said]
    assert energy(described(script_bytes(model), kind="none", energy=right), cluster(5)) < 0


@pytest.mark.parametrize(
    ("model", "says", "must"),
    [
        (
            PairOfAll,
            True,
            "a pair of tensors (energy, forces), as model.toml says (returns_forces = true), got a tensor",
        ),
        (PairWithForces, False, "one tensor, the energy, as model.toml says (returns_forces = false), got 2 values"),
    ],
)
def test_forces_are_returned_if_the_file_says_so(described, model, says, must):
    message = error_of(described, script_bytes(model), kind="none", returns_forces=says)
    assert message.startswith(f"the model in model.pt must return {must}")
    right = described(script_bytes(model), kind="none", returns_forces=not says)
    assert np.abs(compute(right, cluster(5), ALL)["partialForces"]).max() > 0


PARAMETERS = '[parameters]\n"layers.1.bias" = "shift of all energies"\ncounts = ""\n'


def layers_file(kind=Layers):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(kind()), buffer)
    return buffer.getvalue()


class Choosing(Layers):
    kim_parameters: dict[str, str]

    def __init__(self):
        super().__init__()
        self.kim_parameters = {"largest": "this is not heeded"}


@pytest.mark.parametrize("kind", [Layers, Choosing])
def test_parameters_are_those_of_the_table(described, kind):
    """Neither those that the file of a model chooses, nor all small tensors, as beside a parameter file."""
    changes = {"kind": "none", "dtype": "float32"}
    found = by_name(described(layers_file(kind), tables=PARAMETERS, **changes))
    assert list(found) == ["n_elements", "layers_1_bias", "counts"]
    units = "in the model's own units (Å, eV)."
    assert found["layers_1_bias"].description == f"shift of all energies. Tensor layers.1.bias, shape [1], {units}"
    assert found["counts"].description == f"Tensor counts, shape [2], {units}"
    assert list(by_name(described(layers_file(kind), **changes))) == ["n_elements"]


def test_a_parameter_of_the_table_can_be_set(described):
    model = described(script_bytes(Edges1), tables='[parameters]\nweight = "strength"\n', species=["Si", "C"])
    before = energy(model, CLUSTER)
    set_values(model, "weight", 0.5)
    assert model.changed_parameters() == {"weight": [0.5]}
    assert energy(model, CLUSTER) != pytest.approx(before, rel=1e-3)
    set_values(model, "weight", 0.3)
    assert energy(model, CLUSTER) == before


def test_a_parameter_that_is_not_there(described):
    assert error_of(described, script_bytes(Edges1), tables='[parameters]\nwidth = ""\n') == (
        "[parameters] in model.toml of the model in model.pt must name dense parameters or buffers of numbers, got "
        "'width': nothing of that name; there are: weight (a model that was frozen has none)"
    )


def test_what_a_model_was_made_with_is_said_where_it_cannot_be_loaded(described):
    tables = '[made_with]\ntorch = "2.99.0"\n"kim-torchml" = "7.1"\n'
    message = error_of(described, b"no TorchScript at all", dtype="float64", tables=tables)
    assert message.startswith("the model file model.pt must be TorchScript, got a file of another kind; ")
    assert message.endswith("; the model was made with torch 2.99.0, kim-torchml 7.1")
    assert "made with" not in error_of(described, b"no TorchScript at all", dtype="float64")
    # It has nothing to do with what the model does later.
    assert "made with" not in error_of(described, script_bytes(ReturningAnother, what="total"), tables=tables)
