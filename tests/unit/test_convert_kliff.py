# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml convert kliff`: exported folders of format 1 as format 2, without the package kliff.

The networks here have the arguments that KLIFF's have, or others; tests/integration/families tries KLIFF's own folders.
"""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import members, zip_of
from click.testing import CliRunner
from fresh_python import run_python
from golden_data import SI64, read_golden
from mace_files import Bomb
from models import MessagePassing, PairTotal, PairWithForces, script_bytes
from opening import compute, parameter_text
from particles import with_images
from saving import contents_of, left_in, opened
from torch import Tensor, nn

from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.errors import DriverError
from kim_torchml.model_files.toml_parser import tomllib
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert import conversion
from kim_torchml.tools.convert.kliff_species import opened_with_its_species
from kim_torchml.tools.model_check.listed_files import files_of
from kim_torchml.tools.package.program_file import ProgramFile
from kim_torchml.tools.request_error import RequestError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# As KLIFF 1.0.1 writes it, indentation included.
CMAKE = """cmake_minimum_required(VERSION 3.10)

                    list(APPEND CMAKE_PREFIX_PATH $ENV{{KIM_API_CMAKE_PREFIX_DIR}})
                    find_package(KIM-API-ITEMS 2.2 REQUIRED CONFIG)

                    kim_api_items_setup_before_project(ITEM_TYPE "portableModel")
                    project(Exported)
                    kim_api_items_setup_after_project(ITEM_TYPE "portableModel")

                    add_kim_api_model_library(
                    NAME            ${{PROJECT_NAME}}
                    DRIVER_NAME     "{driver}"
                    PARAMETER_FILES {files}
                    )
                """
DRIVER = "TorchML__MD_173118614730_000"
ENVIRONMENT = """{
"kliff-version" "1.0.1"
"trainer-used" "GNNLightningTrainer"
"manifest-hash" "29c8f0ff5d4c9b964a4832a42a83a261"
"python-dependencies" [
    "pytorch-lightning==2.5.5"
    "torch==2.5.1+cpu"
    "torch-geometric==2.8.1"
]
}
"""


class NamedByKliff(MessagePassing):
    """A network that gets atomic numbers under KLIFF's name for them."""

    def forward(self, z: Tensor, coords: Tensor, edge_index0: Tensor, contributions: Tensor) -> Tensor:
        return self.energies(z, coords, [edge_index0])[contributions == 0].sum()


class NumberedByKliff(MessagePassing):
    """A network that gets KLIFF's own numbers of species."""

    def forward(self, species: Tensor, coords: Tensor, edge_index0: Tensor, contributions: Tensor) -> Tensor:
        return self.energies(species, coords, [edge_index0])[contributions == 0].sum()


class OutOfOrder(MessagePassing):
    """A network that KLIFF can call and the driver cannot."""

    def forward(self, coords: Tensor, z: Tensor, edge_index0: Tensor, contributions: Tensor) -> Tensor:
        return self.energies(z, coords, [edge_index0])[contributions == 0].sum()


class Plain(MessagePassing):
    """A network whose arguments have names that tell nothing; its energy depends on what it gets as species."""

    def forward(self, x: Tensor, r: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        return self.energies(x, r, [edges])[mask == 0].sum()


class OfAnySpecies(MessagePassing):
    """The same for all species."""

    def forward(self, x: Tensor, r: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        return self.energies(torch.zeros_like(x), r, [edges])[mask == 0].sum()


class FromTable(MessagePassing):
    """A network with a table of species."""

    def __init__(self, n_rows: int):
        super().__init__()
        self.table = nn.Embedding(n_rows, 1, dtype=torch.float64)

    def forward(self, x: Tensor, r: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        return self.layer(self.table(x)[:, 0], r, edges)[mask == 0].sum()


class OfLargeNumbers(MessagePassing):
    """A network that gives no energy for codes."""

    def forward(self, x: Tensor, r: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        return (self.energies(x, r, [edges]) * torch.log(x - 1.5))[mask == 0].sum()


def exported(folder, network, elements=("C", "Si"), driver=DRIVER, **parameters):
    """Write a folder of a graph network as KLIFF does."""
    folder.mkdir()
    (folder / "model.pt").write_bytes(script_bytes(lambda: network))
    said = {"kind": "Graph", "elements": elements, **parameters}
    (folder / "kliff_graph.param").write_text(parameter_text(**said))
    (folder / "CMakeLists.txt").write_text(CMAKE.format(driver=driver, files="model.pt kliff_graph.param"))
    (folder / "training_env.edn").write_text(ENVIRONMENT)
    return folder


def converted(folder, *options, output=None):
    """Run the command for a folder; unless said otherwise, what it writes is beside that."""
    output = output or folder.parent / "converted"
    words = ["convert", "kliff", str(folder), "--output", str(output), "--name", "My_Model", *options]
    return CliRunner().invoke(main, words), output


def said_in(folder):
    return tomllib.loads((folder / "model.toml").read_text())


def configuration_for(model):
    """Return a rattled cell of two elements and its images."""
    random = np.random.default_rng(2)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    positions = 1.6 * grid + random.uniform(-0.1, 0.1, grid.shape)
    return with_images(positions, np.full(3, 3.2), model.influence_distance, n_species=2)


OUTPUTS = ["partialEnergy", "partialForces", "partialVirial"]


def test_atomic_numbers_are_recognised(tmp_path, monkeypatch):
    folder = exported(tmp_path / "exported", NamedByKliff())
    before = contents_of(folder)
    result, output = converted(folder)
    assert result.exit_code == 0, result.output
    assert contents_of(folder) == before
    assert "the network gets atomic numbers: its first argument is z, by which KLIFF calls them" in result.output
    said = said_in(output)
    assert said["model"]["species_as"] == "atomic numbers"
    assert (said["model"]["kind"], said["model"]["energy"], said["model"]["dtype"]) == ("graph", "total", "float64")
    assert said["made_with"]["kliff"] == "1.0.1"
    assert said["made_with"]["torch"] == "2.5.1"
    assert (output / "model.pt").read_bytes() == before["model.pt"]
    assert 'DRIVER_NAME     "TorchMLModelDriver"' in (output / "CMakeLists.txt").read_text()
    table = re.findall(r"^\|.*\|$", result.output, re.MULTILINE)
    assert len(table) == 7
    assert all(each.count(" 0.0e+00 ") in (2, 3) for each in table[2:])
    assert "\n".join(table) in (output / "README.md").read_text()
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    old = open_by_driver(str(folder), files_of(folder))
    old.prepare()
    monkeypatch.delenv("KIM_MODEL_ELEMENTS_MAP")
    new = opened(output)
    found, expected = (compute(each, configuration_for(each), OUTPUTS) for each in (new, old))
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], expected[name])
    assert np.abs(expected["partialForces"]).max() > 0.1


def test_a_folder_of_descriptors(tmp_path):
    folder = tmp_path / "exported"
    shutil.copytree(EXAMPLES / "descriptor", folder)
    result, output = converted(folder)
    assert result.exit_code == 0, result.output
    said = said_in(output)
    assert said["model"]["kind"] == "descriptor"
    assert said["descriptor"] == {"name": "SymmetryFunctions", "file": "descriptor.dat"}
    assert (output / "descriptor.dat").read_text() == (folder / "descriptor.dat").read_text()
    assert "kliff" not in said["made_with"]
    assert "not copied: kimspec.edn; carry over what holds for this folder too" in result.output
    old = open_by_driver(str(folder), files_of(folder))
    old.prepare()
    new = opened(output)
    found, expected = (compute(each, configuration_for(each), OUTPUTS) for each in (new, old))
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], expected[name])
    parameters = [[(each.name, each.values.tolist()) for each in model.parameters] for model in (new, old)]
    assert parameters[0] == parameters[1]


@pytest.mark.parametrize("network", [PairTotal, PairWithForces])
def test_folders_of_neighbour_lists(tmp_path, network):
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "model.pt").write_bytes(script_bytes(network))
    (folder / "file.param").write_text(parameter_text(returns_forces=network is PairWithForces))
    result, output = converted(folder, "--species-as", "codes")
    assert result.exit_code == 0, result.output
    assert said_in(output)["model"]["returns_forces"] == (network is PairWithForces)
    assert "kliff" not in said_in(output)["made_with"]


PUBLISHED = {"TorchMLModel2_Desc": "codes", "TorchMLModel3_Graph": "atomic numbers"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models(shared, tmp_path, name):
    """They are older than KLIFF 1.0.1, and their arguments have other names."""
    result, output = converted(shared / "portable_models" / name, output=tmp_path / "converted")
    assert result.exit_code == 0, result.output
    assert said_in(output)["model"]["species_as"] == PUBLISHED[name]
    new, golden = opened(output), read_golden(SI64)
    configuration = with_images(golden["positions"], np.diag(golden["cell"]), new.influence_distance)
    found = compute(new, configuration, ["partialEnergy"])
    assert found["partialEnergy"][0] == pytest.approx(float(golden[f"{name}_energy"]), abs=1e-9)


def test_the_published_model_that_fails_for_an_atom_alone(shared, tmp_path):
    """Its own code differentiates what then does not depend on coordinates; `kim-torchml upgrade` takes it."""
    source = shared / "portable_models" / "TorchMLModel1_SW"
    result, _ = converted(source, output=tmp_path / "converted")
    assert result.exit_code == 1
    assert "the model must compute particles without neighbours" in result.output
    assert left_in(tmp_path) == []


def test_other_bits_are_found(tmp_path, monkeypatch):
    """A model that is not the one in the folder."""
    folder = exported(tmp_path / "exported", NamedByKliff())
    other = NamedByKliff()
    with torch.no_grad():
        other.weight += 1e-14
    script = script_bytes(lambda: other)
    monkeypatch.setattr(conversion, "program_of_folder", lambda source: ProgramFile("model.pt", script))
    result, _ = converted(folder)
    assert result.exit_code == 1
    assert re.search(r"the model must give what FolderCalculator gives, but the \w+ of .* differs by", result.output)
    assert left_in(tmp_path) == ["exported"]


KNOWN = {
    "z": (NamedByKliff(), ("C", "Si"), "atomic numbers"),
    "KLIFF's own numbers": (NumberedByKliff(), ("C", "Si"), "codes"),
    "KLIFF's own number of one species": (NumberedByKliff(), ("Si",), "codes"),
    "energies that do not depend on species": (OfAnySpecies(), ("C", "Si"), "codes"),
    "a table that is too small for atomic numbers": (FromTable(2), ("C", "Si"), "codes"),
    "no energy for codes": (OfLargeNumbers(), ("C", "Si"), "atomic numbers"),
}


@pytest.mark.parametrize("what", KNOWN)
def test_what_is_known_of_species(tmp_path, what):
    network, elements, expected = KNOWN[what]
    folder = exported(tmp_path / "exported", network, elements)
    model, notes = opened_with_its_species(folder, files_of(folder), None)
    assert model.description.atomic_numbers == (expected == "atomic numbers")
    if what == "KLIFF's own numbers":
        (note,) = notes
        assert "KLIFF numbers what it calls species anew for each configuration" in note
        assert "for those that have all of C, Si" in note


@pytest.mark.parametrize(("network", "sign"), [(Plain(), ""), (FromTable(100), "its table `table.weight` of species")])
def test_what_is_not_known_is_asked(tmp_path, monkeypatch, network, sign):
    folder = exported(tmp_path / "exported", network)
    with pytest.raises(RequestError, match=r"`--species-as` must say what the network in model\.pt gets") as raised:
        opened_with_its_species(folder, files_of(folder), None)
    assert sign in str(raised.value)
    for asked in ("codes", "atomic numbers"):
        model, _ = opened_with_its_species(folder, files_of(folder), asked)
        assert model.description.atomic_numbers == (asked == "atomic numbers")
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    model, (note,) = opened_with_its_species(folder, files_of(folder), None)
    assert model.description.atomic_numbers
    assert note == "the network gets atomic numbers, as KIM_MODEL_ELEMENTS_MAP says"


def test_networks_that_kliff_calls_otherwise(tmp_path):
    folder = exported(tmp_path / "a", OutOfOrder())
    said = r"must be z, coords, edge_index0, contributions, in this order.* got coords, z, edge_index0, contributions; "
    with pytest.raises(DriverError, match=said):
        opened_with_its_species(folder, files_of(folder), None)
    folder = exported(tmp_path / "b", NumberedByKliff(), ("Si", "C"))
    said = r"kliff_graph\.param must stand in the order of their atomic numbers, C Si, .* got Si C; write them"
    with pytest.raises(DriverError, match=said):
        opened_with_its_species(folder, files_of(folder), None)


def test_a_network_that_fails_either_way_says_why(tmp_path):
    folder = exported(tmp_path / "exported", FromTable(1))
    with pytest.raises(DriverError, match=r"model\.pt raised an error: .*index out of range"):
        opened_with_its_species(folder, files_of(folder), None)


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def second_parameter_file(folder):
    shutil.copy(folder / "kliff_graph.param", folder / "other.param")
    (folder / "CMakeLists.txt").unlink()


def of_another_driver(folder):
    text = (folder / "CMakeLists.txt").read_text()
    (folder / "CMakeLists.txt").write_text(text.replace(DRIVER, "DUNN__MD_292677547454_000"))


def parameters_of_another_driver(folder):
    (folder / "kliff_graph.param").write_text("1 2\nSi C\n15.28 11.60\n")


def upgraded(folder):
    result = CliRunner().invoke(main, ["upgrade", str(folder), "--species-as", "atomic numbers"])
    assert result.exit_code == 0, result.output


BAD = {
    "none": (shutil.rmtree, [], 2, "which is not there; correct the path"),
    "empty": (empty, [], 2, "there is no model in"),
    "two": (
        second_parameter_file,
        [],
        1,
        "model.toml or one .param file, got kliff_graph.param, other.param",
    ),
    "missing": (lambda folder: (folder / "model.pt").unlink(), [], 1, "got 'model.pt', which is not there"),
    "driver": (of_another_driver, [], 1, "got DUNN__MD_292677547454_000 (file "),
    "parameters": (parameters_of_another_driver, [], 1, "`number of elements` must be a whole number, 1 or more, got"),
    "format 2": (upgraded, [], 2, "which has a model.toml: it is converted already; install it as it is"),
    "damaged": (lambda folder: (folder / "model.pt").write_bytes(b"PK"), [], 1, "model.pt"),
    "--head": (None, ["--head", "pbe"], 2, "`--head` must be left out for KLIFF, whose folders hold one network"),
    "--modal": (None, ["--modal", "PBE"], 2, "`--modal` must be left out for KLIFF"),
    "--dtype": (None, ["--dtype", "float32"], 2, "`--dtype` must be float64, the type of the network in model.pt"),
    "--format": (None, ["--format", "pt2"], 2, "`--format` must be pt for a folder that KLIFF has exported"),
    "--species-as": (
        None,
        ["--species-as", "codes"],
        2,
        "`--species-as` must be atomic numbers for model.pt, whose first argument is z: KLIFF gives it atomic numbers",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(tmp_path, what):
    change, options, code, said = BAD[what]
    folder = exported(tmp_path / "exported", NamedByKliff())
    if change is not None:
        change(folder)
    before = left_in(tmp_path)
    result, _ = converted(folder, *options)
    assert result.exit_code == code, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert left_in(tmp_path) == before


@pytest.mark.parametrize("entry", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("options", [[], ["--trust"]], ids=["", "trusted"])
def test_a_bomb_in_a_model_file_does_not_go_off(tmp_path, entry, options):
    folder = exported(tmp_path / "exported", NamedByKliff())
    code = pickle.dumps(Bomb(tmp_path / "exploded"), protocol=2)
    entries = members((folder / "model.pt").read_bytes())
    changed = [(name, code if name.endswith(f"/{entry}") else content) for name, content in entries.items()]
    (folder / "model.pt").write_bytes(zip_of(changed))
    result, _ = converted(folder, *options)
    assert result.exit_code == 1
    assert "cannot load the model file model.pt: " in result.output
    assert left_in(tmp_path) == ["exported"]


def test_a_tar_is_to_be_unpacked(tmp_path):
    (tmp_path / "exported.tar.gz").write_bytes(b"")
    result, _ = converted(tmp_path / "exported.tar.gz")
    assert result.exit_code == 2
    assert re.search(r"got '.*exported\.tar\.gz', a file; unpack it \(tar -xf .*\) and name the folder", result.output)


def test_descriptors_tell_elements_by_codes(tmp_path):
    folder = shutil.copytree(EXAMPLES / "descriptor", tmp_path / "exported")
    result, _ = converted(folder, "--species-as", "atomic numbers")
    assert result.exit_code == 2
    assert "`--species-as` must be codes for the kind descriptor, got 'atomic numbers'" in result.output


def test_other_families_know_their_species(tmp_path):
    words = ["--output", str(tmp_path / "x"), "--name", "X", "--species-as", "codes"]
    result = CliRunner().invoke(main, ["convert", "mace", str(tmp_path / "a.model"), *words])
    assert result.exit_code == 2
    assert "`--species-as` must be left out for MACE, whose files say what a network gets" in result.output


def test_ase_may_be_missing(tmp_path):
    """The environment of the driver does not have it, and --isolated must work there."""
    exported(tmp_path / "exported", NamedByKliff())
    code = """
        import sys
        sys.modules["ase"] = None
        from click.testing import CliRunner
        from kim_torchml.tools.cli import main
        words = ["convert", "kliff", sys.argv[1], "--output", sys.argv[2], "--name", "X"]
        print(CliRunner().invoke(main, words).output)
    """
    said = run_python(code, arguments=[tmp_path / "exported", tmp_path / "x"])
    assert said.startswith("Error: converting a source of KLIFF needs ase in the Python environment of this command")
    assert left_in(tmp_path) == ["exported"]
