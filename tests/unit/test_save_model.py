# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim_torchml.save_model`: complete folders, with the energies of the module, beside what is there already."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from defective import TurningWithAxes
from formulas import particle_energies
from fresh_python import run_python
from guards import bounded, sparse
from models import Edges1, Edges3, Graph2, Graph4, PairTotal, PairWithForces
from opening import compute
from particles import cluster, interleaved
from saving import EDGES_FILE, FILES, contents_of, files_with, left_in, opened, save, stated_of
from torch import Tensor, nn

import kim_torchml
from kim_torchml.errors import DriverError
from kim_torchml.model_files.toml_parser import tomllib
from kim_torchml.tools.model_check.listed_files import files_of

KINDS = {
    PairTotal: {"energy": "total"},
    PairWithForces: {},
    Graph2: {},
    Graph4: {"energy": "total"},
    Edges1: {},
    Edges3: {},
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_written_has_the_energies_of_the_formula(kind, tmp_path):
    report = save(kind, tmp_path / "model", **KINDS[kind])
    file = EDGES_FILE if stated_of(kind)["kind"] == "Edges" else "model.pt"
    assert left_in(tmp_path / "model") == files_with(file)
    assert left_in(tmp_path) == ["model"]
    configuration = interleaved(cluster(n=14, n_contributing=8, n_species=2))
    expected = particle_energies(
        kind, configuration.coordinates, configuration.species_codes, configuration.contributing
    )
    found = compute(opened(tmp_path / "model"), configuration, ["partialEnergy"])
    assert found["partialEnergy"][0] == pytest.approx(expected.sum(), rel=1e-12)
    lines = str(report).splitlines()
    assert re.fullmatch(rf"wrote .*/model: model\.toml, {file}, CMakeLists\.txt, kimspec\.edn, README\.md", lines[0])
    if stated_of(kind)["kind"] != "none":
        n_layers = stated_of(kind)["layers"]
        assert lines.pop(1) == (
            f"layers: {n_layers}, so that an energy depends on particles up to {2.5 * n_layers:g} Å away"
        )
    assert re.match(r"compared for \d+ atoms of Si, C, periodic along one axis, with \d+ images, .* Å apart:", lines[1])
    assert re.match(rf"  energ.*: \S+ eV from {kind.__name__} itself \(allowed: \S+\)$", lines[2])
    assert ("for the periodic graph without images" in lines[3]) == (stated_of(kind)["kind"] == "Edges")
    assert re.match(r"  forces: \S+ eV/Å from differences of the energy along 6 directions \(largest", lines[-1])


def test_model_toml_says_what_was_said(tmp_path):
    save(
        Edges3, tmp_path / "model", species_as="atomic numbers", parameters={"weight": "strength of a message"},
        limits={"smallest_distance": 0.5, "most_neighbours": 90, "stop": True},
        about={"title": "A title", "authors": "Marie Curie", "doi": "10.1/2", "trained_on": "nothing"},
        made_with={"trainer": "1.2"},
    )  # fmt: skip
    found = tomllib.loads((tmp_path / "model" / "model.toml").read_text())
    assert len(found["model"].pop("sha256")) == 64
    assert found["model"] == {
        "file": EDGES_FILE, "kind": "edges", "dtype": "float64", "species": ["Si", "C"], "species_as": "atomic numbers",
        "cutoff": 2.5, "layers": 3, "energy": "per particle", "returns_forces": False,
    }  # fmt: skip
    assert found["parameters"] == {"weight": "strength of a message"}
    assert found["limits"] == {"smallest_distance": 0.5, "most_neighbours": 90, "stop": True}
    assert found["about"]["authors"] == ["Marie Curie"]
    assert found["about"]["trained_on"] == "nothing"
    assert set(found["made_with"]) == {"trainer", "torch", "Python", "kim-torchml"}
    assert [each.name for each in opened(tmp_path / "model").parameters] == ["n_elements", "weight"]


def test_the_other_files_are_those_of_a_model(tmp_path):
    about = {"title": 'A "title"', "authors": ["Marie Curie", "Lise Meitner"], "doi": "10.1/2", "licence": "MIT"}
    save(Edges3, tmp_path / "model", name="Net_SiC", driver="TorchML__MD_173118614730_000", about=about)
    lists, readme, spec = ((tmp_path / "model" / name).read_text() for name in FILES[:3])
    assert "project(Net_SiC)" in lists
    assert 'DRIVER_NAME     "TorchML__MD_173118614730_000"' in lists
    assert files_of(tmp_path / "model") == ["model.toml", EDGES_FILE]
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', spec)
    assert {"extended-id", "Net_SiC", "model-driver", "TorchML__MD_173118614730_000", "gnn", "MIT"} <= set(strings)
    assert '"species" ["Si" "C"]' in spec
    assert '"developer" ["Marie Curie" "Lise Meitner"]' in spec
    assert f'"title" {json.dumps(about["title"])}' in spec
    assert '"author" "Marie Curie and Lise Meitner"' in spec
    assert spec.count("{") == spec.count("}") == 2
    for said in (
        "pair_style kim Net_SiC",
        "pair_coeff * * Si C",
        'KIM("Net_SiC")',
        "https://doi.org/10.1/2",
        "up to 7.5 Å",
    ):
        assert said in readme
    assert 'Marie Curie, Lise Meitner: *A "title"*' in readme


def test_a_descriptor_and_its_file_are_copied(tmp_path, examples):
    source = tmp_path / "mine.dat"
    source.write_bytes((examples / "descriptor" / "descriptor.dat").read_bytes())
    module = torch.jit.load(examples / "descriptor" / "descriptor.pt")
    report = kim_torchml.save_model(
        module, tmp_path / "model", name="A", kind="descriptor", species=["Si"], cutoff=4.5,
        descriptor="SymmetryFunctions", descriptor_file=source,
    )  # fmt: skip
    assert files_of(tmp_path / "model") == ["model.toml", "model.pt", "mine.dat"]
    assert (tmp_path / "model" / "mine.dat").read_bytes() == source.read_bytes()
    assert "energies per particle" in str(report)


def test_a_scripted_or_traced_module_is_taken_as_it_is(tmp_path):
    example = (torch.zeros(2, dtype=torch.int64), torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 3, dtype=torch.float64))
    scripted, traced = torch.jit.script(Edges1()), torch.jit.trace(Edges1(), example)
    for name, module in (("scripted", scripted), ("traced", traced)):
        kim_torchml.save_model(module, tmp_path / name, **stated_of(Edges1))
        assert opened(tmp_path / name).description.dtype == "float64"


@pytest.mark.parametrize("freeze", [torch.jit.freeze, torch.jit.optimize_for_inference], ids=lambda each: each.__name__)
def test_a_frozen_module_is_taken_as_it_is(freeze, tmp_path):
    frozen = freeze(torch.jit.script(Edges1()).eval())
    kim_torchml.save_model(frozen, tmp_path / "model", **stated_of(Edges1))
    assert opened(tmp_path / "model").description.dtype == "float64"
    assert not hasattr(frozen, "training")


def test_a_module_without_gradients_of_its_own(tmp_path):
    module = Edges1().requires_grad_(False)
    with torch.inference_mode():
        report = kim_torchml.save_model(module, tmp_path / "model", **stated_of(Edges1))
    assert "eV/Å from differences of the energy" in str(report)


def test_the_type_is_that_of_the_module_or_as_it_was_said(tmp_path):
    kim_torchml.save_model(Edges3().float(), tmp_path / "single", **stated_of(Edges3))
    assert opened(tmp_path / "single").description.dtype == "float32"
    kim_torchml.save_model(WithoutWeights(), tmp_path / "said", **stated_of(Edges1, kind="edges", dtype=torch.float32))
    assert opened(tmp_path / "said").description.dtype == "float32"
    kim_torchml.save_model(WithoutWeights(), tmp_path / "none", **stated_of(Edges1, kind="edges"))
    assert opened(tmp_path / "none").description.dtype == "float64"


class WithoutWeights(nn.Module):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        smooth = (1.0 - edge_vectors.square().sum(1) / 6.25).pow(3)
        return torch.zeros_like(species, dtype=smooth.dtype).index_add(0, edge_index[0], smooth)


class Dropping(Edges1):
    """A network as one trains it, with dropout."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.dropout(self.weight * (1.0 - (r / 2.5).square()).pow(3))
        return torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


def test_a_module_that_trains_stays_as_it_is(tmp_path):
    module = Dropping().train()
    module.dropout.eval()
    with torch.no_grad():
        kim_torchml.save_model(module, tmp_path / "model", **stated_of(Edges1))
    assert (module.training, module.dropout.training) == (True, False)
    assert module.weight.requires_grad
    module.dropout.train()
    kim_torchml.save_model(module, tmp_path / "again", **stated_of(Edges1))


@pytest.mark.parametrize("file_format", ["pt", None])
def test_the_file_has_no_paths_of_this_machine(file_format, tmp_path):
    save(Edges3, tmp_path / "model", file_format=file_format)
    content = (tmp_path / "model" / (EDGES_FILE if file_format is None else "model.pt")).read_bytes()
    assert b".debug_pkl" not in content
    assert b"stack_trace" not in content
    assert os.fsencode(Path(__file__).parent) not in content


class WithParameters(Edges1):
    kim_parameters: dict[str, str]

    def __init__(self):
        super().__init__()
        self.kim_parameters = {"weight": "from the module"}


def test_parameters_are_those_of_the_module_unless_others_are_said(tmp_path):
    kim_torchml.save_model(WithParameters(), tmp_path / "own", **stated_of(Edges1))
    assert opened(tmp_path / "own").description.parameters == {"weight": "from the module"}
    kim_torchml.save_model(WithParameters(), tmp_path / "none", **stated_of(Edges1, parameters={}))
    assert opened(tmp_path / "none").description.parameters == {}


@pytest.fixture
def examples(request):
    return request.config.rootpath / "examples"


def test_a_folder_with_files_is_left_alone(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        DriverError, match=r"^the folder .* must be new or empty, got one with files in it; name another "
    ):
        save(Edges3, folder)
    assert left_in(folder) == ["notes.txt"]


@pytest.mark.parametrize(
    ("where", "said"), [("file", "got a file of that name"), ("none/model", "must lie in one that is there")]
)
def test_a_place_for_no_folder(where, said, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DriverError, match=said):
        save(Edges3, tmp_path / where)
    assert left_in(tmp_path) == ["file"]


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    save(Edges3, tmp_path / "link")
    assert left_in(tmp_path / "empty") == FILES
    assert left_in(tmp_path) == ["empty", "link"]


def test_replacing_keeps_what_is_not_the_models(tmp_path):
    """The files of the model that was there go, as CMakeLists.txt lists them; others stay."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "train.py").write_text("mine")
    (folder / "old.param").write_text("1\n")
    (folder / "old.pt").write_text("1\n")
    listed = 'PARAMETER_FILES "old.param" "old.pt" "none.dat"'
    (folder / "CMakeLists.txt").write_text(f"add_kim_api_model_library(NAME A DRIVER_NAME B {listed})")
    save(Edges3, folder, replace=True)
    assert left_in(folder) == sorted([*FILES, "train.py"])
    assert files_of(folder) == ["model.toml", EDGES_FILE]
    before = contents_of(folder)
    with pytest.raises(DriverError, match="must depend on nothing beyond 2 x cutoff"):
        save(Edges3, folder, replace=True, layers=2)
    assert contents_of(folder) == before
    assert left_in(tmp_path) == ["model"]


def test_replacing_keeps_documents_that_were_edited(tmp_path):
    folder = tmp_path / "model"
    save(Edges3, folder)
    # Written on another day, but not edited.
    spec = re.sub(r'"date" "[^"]*"', '"date" "2020-02-29"', (folder / "kimspec.edn").read_text())
    spec = re.sub(r'"publication-year" "[^"]*"', '"publication-year" "2020"', spec)
    (folder / "kimspec.edn").write_text(spec)
    (folder / "README.md").write_text("mine")
    report = save(Edges3, folder, replace=True, about={"title": "A title"})
    assert (folder / "README.md").read_text() == "mine"
    assert '"title" "A title"' in (folder / "kimspec.edn").read_text()
    assert report.kept == ("README.md",)
    assert str(report).splitlines()[1] == "kept what was edited: README.md; see whether it still holds"
    (folder / "kimspec.edn").write_text(spec.replace("nil", '"mine"', 1))
    (folder / "README.md").unlink()
    report = save(Edges3, folder, replace=True)
    assert report.kept == ("kimspec.edn",)
    assert "mine" in (folder / "kimspec.edn").read_text()
    assert "A title" not in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("README.md", Path.mkdir, r"^README\.md must be a file, got a folder, a pipe or a device; put the file itself"),
        ("kimspec.edn", os.mkfifo, r"^kimspec\.edn must be a file, got a folder, a pipe or a device; put the file"),
        ("README.md", sparse, r"^the file README\.md must have at most 16777216 bytes, got 8589934592; shorten it$"),
        ("kimspec.edn", lambda path: path.symlink_to("/etc/passwd"), "must lie in the model's own folder, got a link"),
        ("CMakeLists.txt", os.mkfifo, r"^CMakeLists\.txt must be a file, got a folder, a pipe or a device; put the"),
    ],
    ids=["folder", "pipe", "too large", "link", "pipe for CMake"],
)
def test_replacing_reads_documents_that_are_files_of_the_folder(name, make, message, tmp_path):
    folder = tmp_path / "model"
    save(Edges3, folder)
    (folder / name).unlink()
    make(folder / name)
    with bounded(seconds=60.0, size=2**32), pytest.raises(DriverError, match=message):
        save(Edges3, folder, replace=True)
    assert left_in(folder) == FILES
    assert left_in(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("README.md", "# Another project", "must hold a model that replace=True can replace, got other files alone"),
        ("CMakeLists.txt", "project(Other)\nadd_executable(a a.c)", "CMakeLists.txt must define a portable model, got"),
    ],
)
def test_nothing_but_a_model_is_replaced(name, content, message, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_text(content)
    with pytest.raises(DriverError, match=message):
        save(Edges3, tmp_path / "other", replace=True)
    assert contents_of(tmp_path / "other") == {name: content.encode()}


def test_the_working_folder_stays_the_same_one(tmp_path, monkeypatch):
    """A shell would otherwise be left in a folder that is gone."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    save(Edges1, ".")
    assert sorted(path.name for path in Path.cwd().iterdir()) == FILES
    assert left_in(tmp_path) == ["here"]


def test_a_folder_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(Edges1, "~/model")
    assert left_in(tmp_path / "model") == FILES
    assert left_in(tmp_path) == ["model"]


def test_new_folders_have_the_rights_of_others(tmp_path):
    save(Edges1, tmp_path / "model")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_sign_of_atomic_numbers_is_a_doubt(tmp_path):
    class Table(Edges1):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.linspace(1.0, 2.0, 100, dtype=torch.float64))

        def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
            strength = self.table[species]
            r2 = edge_vectors.square().sum(1)
            factors = strength[edge_index[1]] * (1.0 - r2 / 6.25).pow(3)
            return torch.zeros_like(strength).index_add(0, edge_index[0], factors)

    codes = kim_torchml.save_model(Table(), tmp_path / "codes", **stated_of(Edges1))
    assert re.search(
        r"^doubtful: the model gets species codes .* its table `table` of species has 100 rows", str(codes), re.M
    )
    numbers = kim_torchml.save_model(Table(), tmp_path / "numbers", **stated_of(Edges1, species_as="atomic numbers"))
    assert numbers.doubts == ()


def test_a_cutoff_that_is_too_small_is_a_doubt(tmp_path):
    """The module gets the same edges as the driver, so that its energies are those of the model."""
    report = save(Edges1, tmp_path / "model", cutoff=2.0)
    (doubt,) = report.doubts
    assert doubt.startswith("the energy jumps at the cutoff, 2 Å: it is too small, or ")
    assert str(report).splitlines()[-1] == f"doubtful: {doubt}"
    (tmp_path / "folder").mkdir()
    assert save(Edges1, tmp_path / "folder").doubts == ()


def test_a_defect_that_check_model_alone_finds_is_written(tmp_path):
    """Its energies are those of the module, and its forces their derivative."""
    save(TurningWithAxes, tmp_path / "turning", kind="edges", layers=3)
    assert [row.name for row in kim_torchml.check_model(tmp_path / "turning").failures] == ["rotation"]


def test_a_model_with_constant_energy_has_no_forces(tmp_path):
    class Constant(nn.Module):
        def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
            return 2.0 + 0.0 * species.to(edge_vectors.dtype)

    report = kim_torchml.save_model(Constant(), tmp_path / "model", **stated_of(Edges1))
    assert "the energy does not depend on coordinates" in str(report)


def test_numbers_of_numpy_are_numbers(tmp_path):
    save(Edges3, tmp_path / "model", cutoff=np.float64(2.5), layers=np.int64(3))
    assert opened(tmp_path / "model").cutoff == 2.5


def test_the_package_imports_neither_torch_nor_tools():
    printed = run_python(
        """
        import sys
        import kim_torchml
        print("torch" in sys.modules, any(name.startswith("kim_torchml.") for name in sys.modules))
        print(sorted(set(dir(kim_torchml)) & {"save_model", "check_model"}), kim_torchml.__all__)
        print(callable(kim_torchml.save_model), "torch" in sys.modules)
        try:
            kim_torchml.nothing
        except AttributeError as error:
            print(error)
        """
    )
    assert printed.splitlines() == [
        "False False",
        "['check_model', 'save_model'] ['__version__', 'check_model', 'save_model']",
        "True True",
        "module 'kim_torchml' has no attribute 'nothing'",
    ]


def test_the_driver_imports_no_tools():
    printed = run_python(
        """
        import sys
        import kim_torchml.driver
        from kim_torchml.driver import model
        print([name for name in sys.modules if name.startswith("kim_torchml.tools")])
        """
    )
    assert printed == "[]\n"
