# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim_torchml.check_model` and `kim-torchml check`: good models pass, and each defect is found by its check."""

import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from defective import (
    BeyondTheCutoff,
    CountingImages,
    FailingAlone,
    Handed,
    InOrder,
    LosingDigits,
    MeanOverRows,
    Random,
    Remembering,
    SingleInside,
    TurningWithAxes,
    WrongForces,
)
from formulas import pair_energies
from misbehaving import Detached, Failing
from models import PARAMETERS, Edges1, Edges3, Graph2, Graph4, PairOfAll, PairTotal, PairWithForces, script_bytes
from opening import write_files

import kim_torchml
from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.model_check.check_model import CHECKS, load_folder
from kim_torchml.tools.model_check.structures import Structures
from kim_torchml.tools.verification.crystals import perfect_crystal

GOOD = [PairTotal, PairOfAll, PairWithForces, Graph2, Graph4, Edges1, Edges3]


def folder_of(folder, model, dtype=torch.float64, **parameters):
    """Write a model of silicon and carbon; see opening.open_model for its parameters."""
    write_files(folder, script_bytes(model, dtype), elements=("Si", "C"), **PARAMETERS.get(model, {}) | parameters)
    return folder


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_a_good_model_passes(kind, tmp_path):
    found = kim_torchml.check_model(folder_of(tmp_path, kind))
    assert found.passed, str(found)
    assert [row.name for row in found.rows] == list(CHECKS)
    assert {row.grade for row in found.rows} == {"P"}
    for row in found.rows:
        error, limit = row.measurement.error, row.measurement.limit
        assert (error is None) == (row.name == "energies")
        assert error is None or error < 1e-2 * limit or error == limit == 0.0
    # A check that measures nothing would find 0.
    assert all(found[name].measurement.error > 0.0 for name in ("forces", "permutation", "rotation", "dtype"))


@pytest.mark.parametrize("kind", [PairTotal, Graph2, Edges3], ids=lambda kind: kind.__name__)
def test_a_good_model_in_single_precision_passes(kind, tmp_path):
    found = kim_torchml.check_model(folder_of(tmp_path, kind, torch.float32))
    assert found.passed, str(found)
    assert "the same model in float64 gives the same energy" in found["dtype"].measurement.comment
    assert 1e-9 < found["dtype"].measurement.error < 1e-5


EDGES = {"kind": "Edges"}
SINGLE = {"dtype": torch.float32, "kind": "Edges"}
DEFECTS = [
    (TurningWithAxes, {"kind": "Edges", "n_layers": 3}, {"rotation"}, "turned or shifted"),
    (Handed, EDGES, {"mirror"}, "tells left from right"),
    (InOrder, EDGES, {"permutation", "images"}, "depend on the order"),
    (MeanOverRows, EDGES, {"images", "reach", "contributing"}, "do not agree"),
    (CountingImages, {"kind": "Graph"}, {"isolated-atom", "no-edges", "images", "reach", "contributing"}, "an atom"),
    (Edges3, {"n_layers": 2}, {"reach", "images", "contributing"}, r"beyond 2 x 2\.5 Å .* `layers`"),
    (Edges1, {"cutoff": 2.0}, {"cutoff"}, "it is too small"),
    (BeyondTheCutoff, {}, {"isolated-atom", "no-edges", "images", "reach"}, "particles out of reach"),
    (Random, EDGES, {"repeatable"}, "draws random numbers"),
    (Remembering, EDGES, {"repeatable"}, "keeps something of a call"),
    (SingleInside, EDGES, {"dtype"}, r"as in a lower precision: .* \(it has float64\)"),
    (LosingDigits, SINGLE, {"dtype", "forces"}, "too much is lost by rounding"),
    (WrongForces, {"returns_forces": True}, {"forces"}, "not minus the derivative"),
    (Detached, {}, {"forces"}, "not through autograd"),
    (FailingAlone, EDGES, {"cutoff", "isolated-atom", "no-edges"}, "an atom of Si alone cannot be computed: the model"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "parameters", "fails", "said"), DEFECTS, ids=[case[0].__name__ for case in DEFECTS])
def test_a_defect_fails_its_check_and_no_other(kind, parameters, fails, said, tmp_path):
    found = kim_torchml.check_model(folder_of(tmp_path, kind, **parameters))
    assert {row.name for row in found.failures} == fails
    assert not found.passed
    comments = " | ".join(row.measurement.comment for row in found.failures)
    assert re.search(said, comments), comments
    for row in found.failures:
        error, limit = row.measurement.error, row.measurement.limit
        assert error is None or error > limit


def test_another_seed_finds_other_numbers(tmp_path):
    folder = folder_of(tmp_path, Edges3)
    found, again, other = (kim_torchml.check_model(folder, seed=seed) for seed in (0, 0, 1))
    errors = [[row.measurement.error for row in each.rows] for each in (found, again, other)]
    assert errors[0] == errors[1] != errors[2]


def test_atoms_interact_at_the_distance_of_the_structures(tmp_path):
    """The energy of eight atoms is least there, by the formula."""

    def energy(distance):
        structure = perfect_crystal("diamond", (1, 1, 1), distance, ["Si", "C"])
        return pair_energies(structure.positions, np.arange(8) % 2, np.ones(8)).sum()

    model = load_folder(folder_of(tmp_path, PairTotal))
    distances = np.arange(0.6, 2.4, 0.01)
    least = distances[np.argmin([energy(distance) for distance in distances])]
    assert Structures(model, np.random.default_rng(0)).nearest == pytest.approx(least, abs=0.03)


def test_structures_have_all_species_and_are_small(tmp_path):
    folder = tmp_path / "many"
    elements = ("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na")
    write_files(folder, script_bytes(Edges3), kind="Edges", n_layers=3, elements=elements)
    model = load_folder(folder)
    structures = Structures(model, np.random.default_rng(0))
    for structure in (structures.cluster(), structures.wire()):
        assert set(structure.species) == set(elements)
    assert len(model.particles(structures.periodic())) < 1000
    assert structures.wire().cell[0, 0] > 2 * 2.5
    assert kim_torchml.check_model(folder).passed


def test_limits_that_stop_are_kept_by_the_structures(tmp_path):
    folder = folder_of(tmp_path, Edges1, tables="[limits]\nsmallest_distance = 0.9\nstop = true")
    model = load_folder(folder)
    assert Structures(model, np.random.default_rng(0)).nearest >= 0.9 / (1.0 - 0.2 * 3**0.5)
    assert kim_torchml.check_model(folder).passed


def test_a_model_that_always_fails_is_one_sentence(tmp_path):
    with pytest.raises(DriverError, match=r"^the model in model\.pt raised an error: "):
        kim_torchml.check_model(folder_of(tmp_path, Failing))


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(DriverError, match=r"^`folder` must be a model's folder, got '.*/none', which is none; correct"):
        kim_torchml.check_model(tmp_path / "none")


def check(*arguments):
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


def test_the_command_prints_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    result = check(folder_of(tmp_path, Edges3))
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "model.pt: kind edges, species Si, C, cutoff 2.5 Å x 3 layers, float64"
    assert re.search(r"^repeatable +P +0 +0 +the same input gives the same bits", result.output, re.MULTILINE)
    assert re.fullmatch(r"13 of 13 checks passed \(\d+\.\d s\)", lines[-1])


def test_the_command_fails_with_a_check(tmp_path):
    result = check(folder_of(tmp_path, Edges3, n_layers=2))
    assert result.exit_code == 1
    assert re.search(r"10 of 13 checks passed, 3 failed: images, reach, contributing \(", result.output)


def test_the_command_says_in_one_line_what_cannot_be_opened(tmp_path):
    folder_of(tmp_path, Edges1)
    (tmp_path / "model.pt").write_bytes(b"other")
    result = check(tmp_path)
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: the SHA-256 of model\.pt must be .*\n", result.output)


@pytest.mark.parametrize(
    ("arguments", "said"), [((), "Missing argument 'FOLDER'"), (("none",), "'none' does not exist")]
)
def test_misuse_has_exit_status_2(arguments, said):
    result = check(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def lists(*files):
    """Return a CMakeLists.txt that lists these words."""
    return f"add_kim_api_model_library(NAME A DRIVER_NAME B PARAMETER_FILES {' '.join(files)})"


def test_files_are_those_that_cmake_lists(tmp_path):
    """A second description, which nobody lists, is no reason to fail; a missing file is."""
    folder = folder_of(tmp_path, Edges1)
    (folder / "old.param").write_text("1\n")
    (folder / "CMakeLists.txt").write_text(lists('"model.toml"', "model.pt"))
    assert kim_torchml.check_model(folder).passed
    (folder / "CMakeLists.txt").write_text(lists("model.toml", "model.pt", "none.dat"))
    with pytest.raises(DriverError, match=r"^cannot read the model's file none\.dat"):
        kim_torchml.check_model(folder)
    (folder / "CMakeLists.txt").write_text(lists("model.toml", "${FILES}"))
    with pytest.raises(DriverError, match=r"^PARAMETER_FILES must name files, got '\$\{FILES\}'"):
        kim_torchml.check_model(folder)
