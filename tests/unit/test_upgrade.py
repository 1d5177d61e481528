# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml upgrade`: format 2 from format 1, with the same bits."""

import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fresh_python import SOURCE
from golden_data import SI64, read_golden
from guards import bounded, sparse
from misbehaving import EchoSpecies, RelativeSpecies
from models import PARAMETERS, Edges3, Graph2, Graph4, Pair, PairOfAll, PairTotal, PairWithForces, script_bytes
from opening import compute, write_files
from particles import cluster, interleaved, with_images
from saving import contents_of, left_in, opened
from test_parameters import chosen

from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.model_files.toml_parser import tomllib
from kim_torchml.tools.cli import main
from kim_torchml.tools.model_check.listed_files import files_of

CMAKE = """\
# lists "kim.param" in PARAMETER_FILES
project(Old)
add_kim_api_model_library(
  NAME            ${PROJECT_NAME}
  DRIVER_NAME     "TorchMLModelDriver"
  PARAMETER_FILES "kim.param" model.pt # two
  )
"""


def upgrade(folder, *more):
    return CliRunner().invoke(main, ["upgrade", str(folder), *map(str, more)])


def old_folder(folder, script, **parameters):
    """Write a folder of format 1, with silicon and carbon; see opening.parameter_text."""
    write_files(folder, script, elements=("Si", "C"), **parameters)
    (folder / "CMakeLists.txt").write_text(CMAKE)
    (folder / "train.py").write_text("mine")
    return folder


def said_in(folder):
    return tomllib.loads((folder / "model.toml").read_text())


def assert_same(found, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def parameters_of(model):
    return {each.name: (each.description, each.tensor, each.values.tolist()) for each in model.parameters}


@pytest.mark.parametrize("kind", [PairTotal, PairOfAll, PairWithForces, Graph2, Graph4], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_folder_keeps_its_bits(kind, dtype, tmp_path):
    folder = old_folder(tmp_path / "model", script_bytes(kind, dtype), **PARAMETERS[kind])
    before, old = contents_of(folder), opened(folder)
    result = upgrade(folder)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(
        rf"{folder} has the format 2 now: model\.toml takes the place of kim\.param; energies and forces of \d+ "
        rf"particles have the same bits as before, and its {len(old.parameters) - 1} KIM parameters the same values\n",
        result.output,
    )
    assert left_in(folder) == ["CMakeLists.txt", "model.pt", "model.toml", "train.py"]
    assert left_in(tmp_path) == ["model"]
    after = contents_of(folder)
    assert after["model.pt"] == before["model.pt"]
    assert after["CMakeLists.txt"].decode() == CMAKE.replace('FILES "kim.param"', 'FILES "model.toml"')
    new = opened(folder)
    configuration = interleaved(cluster(n=14, n_contributing=8, n_species=2))
    outputs = ["partialEnergy", "partialForces", "partialVirial"]
    assert_same(compute(new, configuration, outputs), compute(old, configuration, outputs))
    assert parameters_of(new) == parameters_of(old)
    found = said_in(folder)["model"]
    assert found["dtype"] == str(dtype).removeprefix("torch.")
    assert found["energy"] == ("total" if kind in (PairTotal, Graph4) else "per particle")
    assert found["returns_forces"] == (kind is PairWithForces)
    assert found["species_as"] == "codes"
    assert found.get("layers") == PARAMETERS[kind].get("n_layers")


def test_parameters_stay_as_their_author_chose_them(tmp_path):
    folder = old_folder(tmp_path / "model", chosen({"layers.1.bias": "shift", "layers.0.bias": ""}))
    old = opened(folder)
    assert upgrade(folder).exit_code == 0
    texts = {"layers.1.bias": "shift", "layers.0.bias": ""}
    assert said_in(folder)["parameters"] == texts
    assert parameters_of(opened(folder)) == parameters_of(old)
    assert list(parameters_of(old)) == ["n_elements", "layers_1_bias", "layers_0_bias"]


def test_a_model_without_parameters_has_none(tmp_path):
    folder = old_folder(tmp_path / "model", chosen({}))
    assert upgrade(folder).exit_code == 0
    assert "parameters" not in said_in(folder)
    assert list(parameters_of(opened(folder))) == ["n_elements"]


@pytest.mark.parametrize("name", ["stillinger_weber", "descriptor", "graph"])
def test_the_examples(name, tmp_path, request):
    folder = tmp_path / name
    shutil.copytree(request.config.rootpath / "examples" / name, folder)
    old = opened(folder)
    others = set(left_in(folder)) - {f"{name}.param"}
    result = upgrade(folder)
    assert result.exit_code == 0, result.output
    assert set(left_in(folder)) == others | {"model.toml"}
    positions = np.array([[0.0, 0, 0], [1.4, 1.3, 1.4], [2.7, 2.7, 0.1], [4.1, 4.0, 1.4]])
    configuration = with_images(positions, np.full(3, 5.5), old.influence_distance)
    outputs = ["partialEnergy", "partialForces", "partialParticleEnergy"]
    assert_same(compute(opened(folder), configuration, outputs), compute(old, configuration, outputs))
    assert parameters_of(opened(folder)) == parameters_of(old)
    again = upgrade(folder)
    assert (again.exit_code, again.output) == (0, f"{folder} has a model.toml (format 2) already: nothing to do\n")


PUBLISHED = {"TorchMLModel1_SW": "codes", "TorchMLModel2_Desc": None, "TorchMLModel3_Graph": "atomic numbers"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_models(name, shared, tmp_path, monkeypatch):
    source = shared / "portable_models" / name
    words = [] if PUBLISHED[name] is None else ["--species-as", PUBLISHED[name]]
    result = upgrade(source, "--output", tmp_path / "new", *words)
    assert result.exit_code == 0, result.output
    new = open_by_driver(str(tmp_path / "new"), files_of(tmp_path / "new"))
    new.prepare()
    golden = read_golden(SI64)
    configuration = with_images(golden["positions"], np.diag(golden["cell"]), new.influence_distance)
    found = compute(new, configuration, ["partialEnergy"])
    assert found["partialEnergy"][0] == pytest.approx(float(golden[f"{name}_energy"]), abs=1e-9)


def test_the_published_graph_model_with_codes(shared, tmp_path):
    result = upgrade(shared / "portable_models" / "TorchMLModel3_Graph", "--output", tmp_path / "new")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: .*must be finite, got NaN.*; if it was trained on atomic numbers, say --species-as 'atomic numbers'\n",
        result.output,
    )
    assert left_in(tmp_path) == []


def test_another_folder_has_all_that_belongs_to_the_model(tmp_path):
    folder = old_folder(tmp_path / "model", script_bytes(Graph2), **PARAMETERS[Graph2])
    for name in ("kimspec.edn", "LICENSE.txt", "README.md"):
        (folder / name).write_text(name)
    before = contents_of(folder)
    result = upgrade(folder, "--output", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert contents_of(folder) == before
    documents = {"kimspec.edn", "LICENSE.txt", "README.md"}
    assert set(left_in(tmp_path / "new")) == {"CMakeLists.txt", "model.pt", "model.toml", *documents}
    assert files_of(tmp_path / "new") == ["model.toml", "model.pt"]
    assert upgrade(folder, "--output", tmp_path / "new").output.startswith("Error: the folder ")


WRONG_DOCUMENTS = [
    ("README.extra", lambda path: path.symlink_to("../secret"), "must lie in the model's own folder, got a link that"),
    ("LICENSE", lambda path: path.symlink_to("nowhere"), "cannot read .*/LICENSE: No such file or directory; mend"),
    ("COPYING", lambda path: path.symlink_to("/dev/zero"), "must lie in the model's own folder, got a link that leav"),
    ("kimspec.edn", os.mkfifo, "must be a file, got a folder, a pipe or a device; put the file itself there"),
    ("README.md", sparse, "must have at most 16777216 bytes, got 8589934592; shorten it"),
]


@pytest.mark.parametrize(("name", "make", "message"), WRONG_DOCUMENTS, ids=[each[0] for each in WRONG_DOCUMENTS])
def test_documents_that_cannot_be_copied(name, make, message, tmp_path):
    """To leave one out could lose a licence, and to follow a link could publish what belongs to somebody else."""
    (tmp_path / "secret").write_text("secret")
    folder = old_folder(tmp_path / "model", script_bytes(PairTotal))
    make(folder / name)
    with bounded(seconds=60.0, size=2**32):
        result = upgrade(folder, "--output", tmp_path / "new")
    assert result.exit_code == 1
    assert re.fullmatch(rf"Error: .*{message}.*\n", result.output)
    assert left_in(tmp_path) == ["model", "secret"]
    assert upgrade(folder).exit_code == 0


def test_folders_are_no_documents(tmp_path):
    folder = old_folder(tmp_path / "model", script_bytes(PairTotal))
    (folder / "README_pictures").mkdir()
    (folder / "README.md").write_text("mine")
    (folder / "LICENSE").symlink_to("README.md")
    assert upgrade(folder, "--output", tmp_path / "new").exit_code == 0
    assert left_in(tmp_path / "new") == ["CMakeLists.txt", "LICENSE", "README.md", "model.pt", "model.toml"]
    assert not (tmp_path / "new" / "LICENSE").is_symlink()


def test_a_folder_without_cmake_lists(tmp_path):
    folder = tmp_path / "model"
    write_files(folder, script_bytes(PairTotal))
    assert upgrade(folder).exit_code == 0
    assert left_in(folder) == ["model.pt", "model.toml"]


class Numbers(Pair):
    """Says by its argument's name that it takes atomic numbers, and does with codes too."""

    def forward(
        self,
        atomic_numbers: torch.Tensor,
        coordinates: torch.Tensor,
        n_neighbours: torch.Tensor,
        neighbours: torch.Tensor,
        contributing: torch.Tensor,
    ) -> torch.Tensor:
        return self.site_energies(atomic_numbers, coordinates, n_neighbours, neighbours)


def test_what_the_model_gets_as_species_must_be_known(tmp_path, monkeypatch):
    folder = old_folder(tmp_path / "model", script_bytes(Numbers))
    before = contents_of(folder)
    result = upgrade(folder)
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: kim\.param must say what the model in model\.pt gets as species, got nothing, and it may expect "
        r"atomic numbers: its first argument is called atomic_numbers; say --species-as codes, or --species-as "
        r"'atomic numbers'\n",
        result.output,
    )
    assert contents_of(folder) == before
    assert upgrade(folder, "--output", tmp_path / "codes", "--species-as", "codes").exit_code == 0
    assert said_in(tmp_path / "codes")["model"]["species_as"] == "codes"
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    assert upgrade(folder, "--output", tmp_path / "numbers").exit_code == 0
    assert said_in(tmp_path / "numbers")["model"]["species_as"] == "atomic numbers"
    assert upgrade(folder, "--species-as", "codes").exit_code == 0
    assert said_in(folder)["model"]["species_as"] == "codes"


@pytest.mark.parametrize(("word", "numbers"), [("codes", [0, 1]), ("atomic numbers", [14, 6])])
def test_the_model_gets_what_was_said(word, numbers, tmp_path):
    """The energy of a particle is what the model gets as its species."""
    folder = old_folder(tmp_path / "model", script_bytes(EchoSpecies, None))
    assert upgrade(folder, "--species-as", word).exit_code == 0
    found = compute(opened(folder), cluster(n=2, n_species=2), ["partialParticleEnergy"])
    assert found["partialParticleEnergy"].tolist() == numbers


def test_a_model_that_fails_with_codes_is_told_of_numbers(tmp_path):
    folder = old_folder(tmp_path / "model", script_bytes(RelativeSpecies, None)).rename(tmp_path / "moved")
    (folder / "kim.param").write_text((folder / "kim.param").read_text().replace("2\nSi C", "1\nSi"))
    result = upgrade(folder)
    assert result.exit_code == 1
    assert "say --species-as 'atomic numbers'" in result.output
    assert upgrade(folder, "--species-as", "atomic numbers").exit_code == 0


def test_a_descriptor_gets_codes(tmp_path, request, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(request.config.rootpath / "examples" / "descriptor", folder)
    result = upgrade(folder, "--species-as", "atomic numbers")
    assert result.exit_code == 1
    assert re.match(r"Error: `species_as` must be codes for the kind descriptor, got atomic numbers; ", result.output)
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    assert upgrade(folder).exit_code == 0
    assert said_in(folder)["model"]["species_as"] == "codes"
    assert said_in(folder)["descriptor"] == {"name": "SymmetryFunctions", "file": "descriptor.dat"}


def test_another_model_toml_is_in_the_way(tmp_path):
    folder = old_folder(tmp_path / "model", script_bytes(PairTotal))
    (folder / "model.toml").write_text("mine")
    before = contents_of(folder)
    result = upgrade(folder)
    assert result.exit_code == 1
    assert "must have no model.toml beside kim.param, got one that its CMakeLists.txt does not list" in result.output
    assert contents_of(folder) == before


def test_other_bits_leave_the_folder_as_it_was(tmp_path, monkeypatch):
    folder = old_folder(tmp_path / "model", script_bytes(PairTotal))
    before = contents_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr("kim_torchml.tools.package.upgrade._equal", lambda found, expected: False)
        result = upgrade(folder)
    assert result.exit_code == 1
    assert (
        "the energies and forces of model.pt with model.toml must be those with kim.param, got others" in result.output
    )
    with monkeypatch.context() as patch:
        patch.setattr("kim_torchml.tools.package.upgrade.published_parameters", lambda model: {"bond": "fewer"})
        result = upgrade(folder)
    assert "the KIM parameters of model.pt with model.toml must be those with kim.param, got others" in result.output
    assert contents_of(folder) == before
    assert left_in(tmp_path) == ["model"]


def test_format_2_has_nothing_to_do(tmp_path):
    write_files(tmp_path / "model", script_bytes(Edges3), kind="Edges", n_layers=3)
    before = contents_of(tmp_path / "model")
    result = upgrade(tmp_path / "model")
    assert (result.exit_code, result.output.count("nothing to do")) == (0, 1)
    assert contents_of(tmp_path / "model") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'FOLDER'"),
        (["none"], "'none' does not exist"),
        (["--species-as", "x", "."], "'x' is not one of"),
    ],
)
def test_misuse_has_exit_status_2(words, said):
    result = CliRunner().invoke(main, ["upgrade", *words])
    assert result.exit_code == 2
    assert said in result.output


def test_a_folder_without_a_model(tmp_path):
    result = upgrade(tmp_path)
    assert result.exit_code == 2
    assert result.output == (
        f"Error: there is no model in {tmp_path}: it has no CMakeLists.txt, model.toml or .param file; name the "
        "model's folder\n"
    )


def test_ctrl_c_leaves_the_folder_as_it_was(tmp_path):
    folder = old_folder(tmp_path / "model", script_bytes(PairTotal))
    before = contents_of(folder)
    code = (
        "import sys, time\n"
        "from kim_torchml.tools.package import upgrade\n"
        "upgrade._compare = lambda *arguments: (print('comparing', flush=True), time.sleep(60))\n"
        "from kim_torchml.tools.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "upgrade", str(folder)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "comparing\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "kim-torchml: interrupted\n")
    assert contents_of(folder) == before
    assert left_in(tmp_path) == ["model"]
