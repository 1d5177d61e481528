# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model whose file is a program of torch.export is probed, limited, saved where it fails and checked as any other."""

import re
import shlex
import weakref

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from defective import SingleInside
from exporting import exported_bytes
from models import PARAMETERS, Edges1, Edges3, script_bytes
from opening import assert_close, compute, open_described, outputs_of, write_described
from particles import Configuration, cluster, interleaved
from program_files import needs_export
from test_parameters import set_values
from torch import Tensor, nn

import kim_torchml
from kim_torchml.driver import failure_file, opened_models
from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.replay.failed_compute import read_failed_compute

pytestmark = needs_export

EVERYTHING = outputs_of(Edges1)
SOME = interleaved(cluster(20, 4.4, n_contributing=7))


class ForAtomicNumbers(Edges1):
    """Has a row for every chemical element."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(119, 1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        factors = torch.exp(-edge_vectors.square().sum(1)) * self.embedding(species)[edge_index[1], 0]
        return torch.zeros(species.shape[0], dtype=factors.dtype).index_add(0, edge_index[0], factors)


class NamedZ(Edges1):
    """Calls its first argument as authors call atomic numbers."""

    def forward(self, z: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        factors = torch.exp(-edge_vectors.square().sum(1))
        return torch.zeros(z.shape[0], dtype=factors.dtype).index_add(0, edge_index[0], factors)


class SharesAll(Edges1):
    """Shifts each energy by a mean over all rows."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        factors = torch.exp(-edge_vectors.square().sum(1))
        energies = torch.zeros(species.shape[0], dtype=factors.dtype).index_add(0, edge_index[0], factors)
        return energies + 0.5 * energies.mean()


class ForFewNeighbours(Edges1):
    """Cannot compute a particle that has more than eight neighbours."""

    def __init__(self):
        super().__init__()
        self.by_count = nn.Embedding(9, 1)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        counts = torch.zeros_like(species).index_add(0, edge_index[0], torch.ones_like(edge_index[0]))
        factors = torch.exp(-edge_vectors.square().sum(1))
        energies = torch.zeros(species.shape[0], dtype=factors.dtype).index_add(0, edge_index[0], factors)
        return energies + self.by_count(counts).squeeze(1)


class Layered(nn.Module):
    """Tensors in submodules."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
        generator = torch.Generator().manual_seed(5)
        for each in self.parameters():
            each.data = torch.rand(each.shape, generator=generator) - 0.5

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        energies = self.layers(r.unsqueeze(1)).squeeze(1) * (1.0 - (r / 2.5).square()).pow(3)
        return torch.zeros(species.shape[0], dtype=r.dtype).index_add(0, edge_index[0], energies)


def opened_as_both(folder, kind, **changes):
    """Return a model of a .pt2 file, and one of a .pt file."""
    model = open_described(folder / "exported", exported_bytes(kind), "model.pt2", **{"dtype": "float64"} | changes)
    return model, open_described(folder / "scripted", script_bytes(kind), "model.pt", **changes)


PROBED = [
    (Edges1, {}, ""),
    (Edges3, {"layers": 3}, ""),
    (Edges3, {"layers": 2}, r"must depend on nothing beyond 2 x cutoff, as `layers` in model\.toml says, got a change"),
    (ForAtomicNumbers, {}, r"may expect atomic numbers: its table `embedding\.weight` of species has 119 rows for 1"),
    (ForAtomicNumbers, {"species_as": "atomic numbers"}, ""),
    (NamedZ, {}, r"may expect atomic numbers: its first argument is called z; if it was trained on"),
    (SharesAll, {}, r"depend on nothing beyond|is not the sum of what its particles contribute"),
]


@pytest.mark.parametrize(("kind", "changes", "said"), PROBED)
def test_probes_find_what_they_find_in_torchscript(kind, changes, said, tmp_path, talkative, capfd, monkeypatch):
    monkeypatch.setattr("kim_torchml.process.notices.announce_first_use", lambda *_: None)
    found = {}
    for name, content in (("model.pt2", exported_bytes(kind)), ("model.pt", script_bytes(kind))):
        monkeypatch.setattr(opened_models, "_living", weakref.WeakSet())
        monkeypatch.setattr("kim_torchml.process.notices._said", set())
        error = ""
        try:
            open_described(tmp_path / name, content, name, **{"dtype": "float64"} | changes)
        except DriverError as raised:
            error = str(raised)
        found[name] = (error + capfd.readouterr().err).replace("model.pt2", "model.pt")
    assert found["model.pt2"] == found["model.pt"]
    assert re.search(said, found["model.pt2"]) if said else found["model.pt2"] == ""


def test_tensors_are_kim_parameters(tmp_path):
    tables = '[parameters]\n"layers.0.bias" = "shifts"\n"layers.2.weight" = ""'
    model, other = opened_as_both(tmp_path, Layered, tables=tables)
    assert [each.name for each in model.parameters][1:] == ["layers_0_bias", "layers_2_weight"]
    for one, two in zip(model.parameters, other.parameters, strict=True):
        assert (one.name, one.description) == (two.name, two.description)
        np.testing.assert_array_equal(one.values, two.values)
    before = compute(model, SOME, EVERYTHING)
    assert_close(before, compute(other, SOME, EVERYTHING))
    for each in (model, other):
        set_values(each, "layers_2_weight", [0.5, -1.0, 0.25, 2.0])
    after = compute(model, SOME, EVERYTHING)
    assert_close(after, compute(other, SOME, EVERYTHING))
    assert abs(after["partialEnergy"] - before["partialEnergy"]) > 1e-3


def test_a_parameter_that_is_no_tensor_of_the_program(tmp_path):
    errors = []
    for name, content in (("model.pt2", exported_bytes(Layered)), ("model.pt", script_bytes(Layered))):
        with pytest.raises(DriverError, match=r"layers\.0\.bais") as raised:
            open_described(tmp_path / name, content, name, dtype="float64", tables='[parameters]\n"layers.0.bais" = ""')
        errors.append(str(raised.value).replace("model.pt2", "model.pt"))
    assert errors[0] == errors[1]


def test_limits(tmp_path):
    tables = "[limits]\nsmallest_distance = 0.9\nstop = true"
    model = open_described(tmp_path, exported_bytes(Edges1), "model.pt2", dtype="float64", tables=tables)
    message = (
        r"^the distance of two particles must be at least 0\.9 Å, as `smallest_distance` says in model\.toml of the "
        r"model in model\.pt2, got 0\.8 Å between particles 0 and 1"
    )
    with pytest.raises(DriverError, match=message):
        compute(model, Configuration([[0, 0, 0], [0.8, 0, 0]], [0, 0], [1, 1]), EVERYTHING)
    assert compute(model, Configuration([[0, 0, 0], [1.2, 0, 0]], [0, 0], [1, 1]), EVERYTHING)["partialEnergy"] != 0.0


def test_a_failed_compute_is_saved_and_fails_again(tmp_path, monkeypatch):
    monkeypatch.setattr(failure_file, "_saved", 0)
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(tmp_path / "failures"))
    model = open_described(tmp_path / "model", exported_bytes(ForFewNeighbours), "model.pt2", dtype="float64")
    crowded = interleaved(cluster(24, 2.4, n_contributing=9))
    message = r"^the model in model\.pt2 raised an error in aten\.embedding\.default: index out of range in self; call"
    with pytest.raises(DriverError, match=message) as raised:
        compute(model, crowded, EVERYTHING)
    given = (crowded.coordinates, 1.0, crowded.species_codes, crowded.contributing, 2.5)
    said = failure_file.save_failure(str(raised.value), "My_Model", "model.pt2", {}, 1, EVERYTHING, ["Si"], *given)[0]
    *_, path, name = shlex.split(said)
    assert name == "My_Model"
    saved = read_failed_compute(tmp_path / path)
    assert saved.influence_distance == 2.5
    assert (saved.facts["model_file"], saved.facts["error"]) == ("model.pt2", str(raised.value))
    again = Configuration(saved.coordinates, saved.species_codes, saved.contributing)
    with pytest.raises(DriverError, match=message):
        compute(model, again, EVERYTHING)
    assert np.isfinite(compute(model, cluster(3, 2.4), EVERYTHING)["partialEnergy"])


def folder_of(folder, kind, dtype=torch.float64, **changes):
    """Write a model of silicon and carbon."""
    stated = {"layers": PARAMETERS.get(kind, {}).get("n_layers", 1), "species": ["Si", "C"]} | changes
    write_described(folder, exported_bytes(kind, dtype), "model.pt2", dtype=str(dtype).removeprefix("torch."), **stated)
    return folder


def test_a_good_model_passes_all_checks(tmp_path):
    result = CliRunner().invoke(main, ["check", str(folder_of(tmp_path, Edges1))])
    assert result.exit_code == 0, result.output


def test_a_good_model_in_single_precision_passes_all_checks(tmp_path):
    found = kim_torchml.check_model(folder_of(tmp_path, Edges3, torch.float32))
    assert found.passed, str(found)
    assert "the same model in float64 gives the same energy" in found["dtype"].measurement.comment
    assert 1e-9 < found["dtype"].measurement.error < 1e-5


@pytest.mark.parametrize(
    ("kind", "changes", "fails"),
    [(SingleInside, {}, {"dtype"}), (Edges3, {"layers": 2}, {"reach", "images", "contributing"})],
)
def test_a_defect_fails_its_check(kind, changes, fails, tmp_path):
    found = kim_torchml.check_model(folder_of(tmp_path, kind, **changes))
    assert {row.name for row in found.failures} == fails


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "model.pt",
            exported_bytes,
            r"^the model file model\.pt must be TorchScript, got a program of torch\.export; name it \.pt2, in its ",
        ),
        ("model.pt2", script_bytes, r"^the model file model\.pt2 holds .*; name a TorchScript file \.pt, and export"),
    ],
)
def test_a_file_with_the_suffix_of_the_other_format(name, content, message, tmp_path):
    with pytest.raises(DriverError, match=message):
        open_described(tmp_path, content(Edges1), name, dtype="float64")
