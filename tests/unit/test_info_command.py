# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml info`: all that a folder, a model file or an installed model says."""

import hashlib
import io
import json
import os

import pytest
import torch
from click.testing import CliRunner
from exporting import Splitting, exported_bytes
from guards import bounded
from model_folders import DRIVER, compile_library, edges_files, raw_files, write_folder
from models import Edges1, Edges3, Graph2, PairWithForces, script_bytes
from opening import parameter_text, toml_text
from program_files import layered_program, needs_export, saved_inputs
from torch import Tensor, nn

from kim_torchml.engines.exported.compiled.cache import Cache
from kim_torchml.engines.exported.compiled.key import key_of
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.engines.facts import ProgramFacts, TensorFacts
from kim_torchml.tools.cli import main
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY
from kim_torchml.tools.model_info.citation import bibtex
from kim_torchml.tools.model_info.facts import FileFacts, ModelFacts
from kim_torchml.tools.model_info.table import rows

ABOUT = """
[about]
title = "A model & more"
authors = ["Marie Skłodowska Curie", "Lovelace, Ada"]
doi = "https://doi.org/10.1/a_b"
licence = "CC0-1.0"
trained_on = "all [bold]data[/bold] :smile:"
[made_with]
torch = "2.13.0"
"""
TABLES = f"""
[parameters]
weight = "the strength of messages"
[limits]
smallest_distance = 0.7
most_neighbours = 90
stop = true
{ABOUT}
"""
ALL = "partialEnergy, partialForces, partialParticleEnergy, partialVirial, partialParticleVirial"
N_ELEMENTS = "n_elements [1]: Number of chemical elements of the model. Read-only."
TENSOR = "Tensor {}, shape {}, in the model's own units (Å, eV)."


@pytest.fixture(autouse=True)
def no_kim(monkeypatch, tmp_path):
    """There is no KIM-API: it is not needed for folders and files."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    """Run the command; return its exit code, stdout and stderr."""
    result = CliRunner().invoke(main, ["info", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stdout, result.stderr


def table(*arguments):
    """Run the command; return its exit code, and the table's texts by the names of the facts.

    A fact of several lines is a list of them.
    """
    code, output, error = run(*arguments)
    assert error == ""
    lines = output.partition("\n\n")[0].splitlines()
    start = max(len(line.partition("  ")[0]) for line in lines) + 2
    found, last = {}, ""
    for line in lines:
        name, text = line[:start].strip(), line[start:].strip()
        if name:
            found[name], last = text, name
        else:
            found[last] = [*([found[last]] if isinstance(found[last], str) else found[last]), text]
    return code, found


def test_folder_of_format_2(tmp_path):
    script = script_bytes(Edges3)
    changes = {"layers": 3, "species": ["Si", "C"], "species_as": "atomic numbers", "tables": TABLES}
    files = {"model.toml": toml_text(script, **changes).encode(), "model.pt": script}
    folder = write_folder(tmp_path / "a model", files)
    code, found = table(folder)
    assert code == 0
    assert found == {
        "model": "My_Model",
        "folder": str(folder),
        "driver": f"{DRIVER}, there is no KIM-API here to ask whether it is installed",
        "format": "2 (model.toml)",
        "kind": "edges",
        "species": "Si 14, C 6 (atomic numbers)",
        "cutoff": "2.5 Å",
        "layers": "3",
        "influence distance": "7.5 Å; needs neighbours of non-contributing particles",
        "energy": "per particle",
        "floating type": "float64",
        "forces": "from the derivative of the energy",
        "arguments": "species, edge_index, edge_vectors",
        "supported": ALL,
        "parameters": [N_ELEMENTS, f"weight [1]: the strength of messages. {TENSOR.format('weight', '[1]')}"],
        "limits": "distances of at least 0.7 Å, at most 90 neighbours; beyond them an error",
        "model file": f"model.pt, {len(script) / 1000:.1f} kB",
        "SHA-256": hashlib.sha256(script).hexdigest(),
        "other files": f"model.toml ({len(files['model.toml'])} B)",
        "title": "A model & more",
        "authors": "Marie Skłodowska Curie, Lovelace, Ada",
        "doi": "https://doi.org/10.1/a_b",
        "licence": "CC0-1.0",
        "trained on": "all [bold]data[/bold] :smile:",
        "made with": "torch 2.13.0",
    }


def test_json_says_the_same(tmp_path):
    script = script_bytes(Edges3)
    files = {"model.toml": toml_text(script, layers=3, tables=TABLES).encode(), "model.pt": script}
    code, output, _ = run(write_folder(tmp_path / "model", files), "--json")
    assert code == 0
    assert output.isascii()
    found = json.loads(output)
    assert found["description"] == {
        "file": "model.toml",
        "format": 2,
        "kind": "edges",
        "species": ["Si"],
        "species_as": "codes",
        "cutoff": 2.5,
        "layers": 3,
        "energy": "per particle",
        "dtype": "float64",
        "returns_forces": False,
        "descriptor": None,
        "parameters": {"weight": "the strength of messages"},
        "limits": {"smallest_distance": 0.7, "most_neighbours": 90, "stop": True},
        "where": "folder",
        "about": found["description"]["about"],
        "made_with": {"torch": "2.13.0"},
    }
    assert found["description"]["about"]["authors"] == ["Marie Skłodowska Curie", "Lovelace, Ada"]
    assert found["opened"]["outputs"] == ALL.split(", ")
    assert found["opened"]["influence_distance"] == 7.5
    parameter = found["opened"]["parameters"][1]
    assert (parameter["name"], parameter["extent"], parameter["dtype"]) == ("weight", 1, "float64")
    assert parameter["description"].startswith("the strength of messages.")
    assert [each["sha256"] for each in found["files"]] == [hashlib.sha256(each).hexdigest() for each in files.values()]
    assert found["driver"]["installed"] is None
    assert found["problem"] is None
    assert found["bibtex"].startswith("@misc{curie-My_Model,")


def test_folders_of_format_1(tmp_path):
    code, found = table(write_folder(tmp_path / "raw", raw_files()))
    assert code == 0
    assert found["format"] == "1 (file.param)"
    assert found["kind"] == "none"
    assert found["energy"] == "not stated"
    assert found["supported"] == "partialEnergy, partialForces, partialVirial"
    assert "layers" not in found
    assert "title" not in found
    assert found["parameters"] == [
        N_ELEMENTS,
        f"decay [1]: {TENSOR.format('decay', '[]')}",
        f"bond [1]: {TENSOR.format('bond', '[1]')}",
    ]
    graph = {"g.param": parameter_text("Graph", n_layers=2).encode(), "model.pt": script_bytes(Graph2)}
    assert table(write_folder(tmp_path / "graph", graph))[1]["influence distance"].startswith("5 Å; needs neighbours")
    forces = {"a.param": parameter_text(returns_forces=True).encode(), "model.pt": script_bytes(PairWithForces)}
    assert table(write_folder(tmp_path / "forces", forces))[1]["forces"] == "returned by the model"


class NoForces(nn.Module):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return edge_vectors.new_zeros(species.size(0)).index_add(
            0, edge_index[0], edge_vectors.detach().square().sum(1)
        )


class ReadsFiles(nn.Module):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        torch.save(edge_vectors, "stolen")
        return edge_vectors.sum(1)


def script_of(module):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def test_warnings_are_said_and_the_line_about_the_first_use_is_not(tmp_path, talkative):
    script = script_of(NoForces())
    files = {"model.toml": toml_text(script).encode(), "model.pt": script}
    code, output, error = run(write_folder(tmp_path / "model", files))
    assert code == 0
    assert "none: the energy does not depend on positions through autograd" in output
    (line,) = error.splitlines()
    assert line.startswith(
        "[kim-torchml] warning: the energy of the model in model.pt does not depend on the edge vectors"
    )


def test_model_that_cannot_be_opened_is_described_all_the_same(tmp_path):
    """The program takes three tensors, as the kind edges says, but not these."""
    script = script_bytes(Graph2)
    files = {"model.toml": toml_text(script, tables=ABOUT).encode(), "model.pt": script}
    code, found = table(write_folder(tmp_path / "model", files))
    assert code == 1
    assert found["cutoff"] == "2.5 Å"
    assert "supported" not in found
    assert found["problem"].startswith("the model in model.pt must take 3 inputs, as model.toml says (kind = ")
    assert found["problem"].endswith("the model was made with torch 2.13.0")


def test_file_alone(tmp_path):
    path = tmp_path / "some.pt"
    path.write_bytes(script_bytes(Edges3))
    assert table(path) == (
        0,
        {
            "model file": f"some.pt, {path.stat().st_size / 1000:.1f} kB",
            "format": "TorchScript",
            "arguments": "species, edge_index, edge_vectors",
            "floating type": "float64",
            "tensors": "weight float64 [1]",
            "SHA-256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
    )
    found = json.loads(run(path, "--json")[1])
    assert found["program"]["tensors"] == [{"name": "weight", "dtype": "float64", "shape": [1]}]
    assert found["model_file"]["path"] == str(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            script_of(ReadsFiles()),
            "uses the operator aten::save, which touches files: a model must not; it has not been",
        ),
        (b"", "the model file some.pt must be TorchScript, got an empty file"),
        (script_bytes(Edges3)[:-100], "the model file some.pt is damaged"),
    ],
)
def test_file_that_is_refused(tmp_path, content, problem):
    path = tmp_path / "some.pt"
    path.write_bytes(content)
    code, found = table(path)
    assert code == 1
    assert problem in found["problem"]
    assert found["SHA-256"] == hashlib.sha256(content).hexdigest()
    assert not (tmp_path / "stolen").exists()


INPUTS = "species int64 [n], edge_index int64 [2, E], edge_vectors float64 [E, 3]"


def test_a_program_alone(tmp_path):
    program = layered_program(1)
    program.entries |= {"data/sample_inputs/model.pt": saved_inputs(torch.ones(2)), "extra/about.txt": b"mine"}
    path = tmp_path / "some.pt2"
    path.write_bytes(program.content())
    code, found = table(path)
    assert found.pop("operators").startswith("17 calls of aten.add.Tensor, aten.embedding.default, aten.exp.default, ")
    assert found == {
        "model file": f"some.pt2, {path.stat().st_size / 1000:.1f} kB",
        "format": "torch.export program, torch 2.9.0, schema 8.14",
        "arguments": INPUTS,
        "outputs": "energies float64 [n]",
        "floating type": "float64",
        "tensors": "table.weight float64 [12, 1], scale float64 [1]",
        "files inside": "about.txt",
        "sample inputs": "in the file; they are never opened",
        "SHA-256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert code == 0


@needs_export
def test_json_of_a_program_alone(tmp_path):
    path = tmp_path / "some.pt2"
    path.write_bytes(exported_bytes(Splitting, torch.float32))
    code, output, _ = run(path, "--json")
    found = json.loads(output)["program"]
    assert code == 0
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["schema"].startswith("8.")
    assert found["arguments"] == ["species", "edge_index", "edge_vectors"]
    assert found["inputs"] == [
        {"name": "species", "dtype": "int64", "shape": ["n"]},
        {"name": "edge_index", "dtype": "int64", "shape": [2, "E"]},
        {"name": "edge_vectors", "dtype": "float32", "shape": ["E", 3]},
    ]
    assert [(each["dtype"], each["shape"]) for each in found["outputs"]] == [("float32", ["n"])]
    model = Splitting()
    held = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    shapes = {each["name"]: (each["dtype"], each["shape"]) for each in found["tensors"]}
    assert shapes == {name: ("float32", list(tensor.shape)) for name, tensor in held.items()}
    assert [(each["dtype"], each["shape"]) for each in found["constants"]] == [("float32", [])]
    assert {"aten.linear.default", "aten.embedding.default"} <= set(found["operators"])
    assert found["n_nodes"] >= len(found["operators"])
    assert found["refused_operators"] == []
    assert found["has_sample_inputs"] is True
    assert found["problem"] == ""


def test_operators_that_are_not_allowed_are_named(tmp_path):
    """All of them, where the driver names the first."""
    program = layered_program(1)
    program.add_node("segment_reduce.default", "bad", data="g0", reduce="sum")
    program.add_node("rand.default", "worse", size=[3])
    path = tmp_path / "some.pt2"
    path.write_bytes(program.content())
    code, found = table(path)
    assert code == 1
    assert found["not allowed"] == "aten.rand.default, aten.segment_reduce.default"
    assert found["problem"].startswith("the program in the model file some.pt2 uses 'torch.ops.aten.segment_reduce.def")
    assert found["arguments"] == INPUTS
    assert found["tensors"] == "table.weight float64 [12, 1], scale float64 [1]"
    assert json.loads(run(path, "--json")[1])["problem"] == found["problem"]


def test_programs_that_cannot_be_described(tmp_path):
    path = tmp_path / "some.pt2"
    other_version = layered_program(1)
    other_version.model["schema_version"]["major"] = 9
    other_version.model["graph_module"] = {}
    for content, problem in (
        (layered_program(1).content()[:-100], "the model file some.pt2 is damaged"),
        (b"", "the model file some.pt2 must be a program of torch.export, got an empty file"),
        (other_version.content(), "must be of the version 8 of torch's format, got 9.14, written by torch '2.9.0'"),
        (script_bytes(Edges3), "which TorchScript and torch.save write; name a TorchScript file .pt, and export any"),
    ):
        path.write_bytes(content)
        code, found = table(path)
        assert code == 1
        assert problem in found["problem"]
        assert "arguments" not in found


def test_what_a_file_says_is_no_markup_and_short(tmp_path):
    program = layered_program(1)
    evil = "[bold]\x1b[1m" + "x" * 5000
    program.nodes[-1]["target"] = evil
    program.model["torch_version"] = evil
    path = tmp_path / "some.pt2"
    path.write_bytes(program.content())
    _, output, _ = run(path)
    assert "\x1b" not in output
    assert "[bold]" in output
    assert "x" * 2000 not in output


@pytest.mark.parametrize(
    ("content", "word"), [(script_bytes(Edges3), "TorchScript"), (layered_program(1).content(), "torch.export")]
)
def test_a_file_of_another_name_is_what_its_content_is(tmp_path, content, word):
    """Such as one in a store of model files."""
    path = tmp_path / "0123.model"
    path.write_bytes(content)
    code, found = table(path)
    assert code == 0
    assert found["format"].startswith(word)


@needs_export
def test_whether_a_program_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_CACHE", str(tmp_path / "cache"))
    content = exported_bytes(Edges3)
    text = toml_text(content, model_file="model.pt2", layers=3).encode()
    folder = write_folder(tmp_path / "model", {"model.toml": text, "model.pt2": content})
    none = "no: `kim-torchml compile`, with the model's name, makes native code of it, mostly 1.4 to 4 times as fast"
    assert table(folder)[1]["compiled"] == none
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "cached")
    assert table(folder)[1]["compiled"] == none
    assert json.loads(run(folder, "--json")[1])["opened"]["compiled"] == none
    # An entry that was slower is not loaded, so that any file will do for native code.
    cache, key = Cache(tmp_path / "cache"), key_of(content, torch.float64, 2, torch.device("cpu"))
    with cache.locked(key, wait=lambda seconds: None), cache.unfinished() as place:
        (place / "program.so").write_bytes(b"native code")
        cache.publish(place, key, "My_Model", Facts("program.so", "float64", {1: 0.9}, 61.0))
    found = "in the cache for cpu: not compiled, which is faster here"
    assert table(folder)[1]["compiled"] == found
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    assert table(folder)[1]["compiled"] == f"{found}; simulators do not use it, as KIM_TORCHML_COMPILE is never"
    script = write_folder(tmp_path / "scripted", edges_files())
    assert json.loads(run(script, "--json")[1])["opened"]["compiled"] is None


@needs_export
def test_folder_with_a_program(tmp_path):
    content = exported_bytes(Edges3)
    files = {"model.toml": toml_text(content, model_file="model.pt2", layers=3, tables=TABLES), "model.pt2": content}
    files["model.toml"] = files["model.toml"].encode()
    code, found = table(write_folder(tmp_path / "model", files))
    assert code == 0
    assert found["model file"] == f"model.pt2, {len(content) / 1000:.1f} kB"
    assert found["arguments"] == "species, edge_index, edge_vectors"
    assert found["supported"] == ALL
    assert found["floating type"] == "float64"
    assert found["parameters"][1].startswith("weight [1]: the strength of messages.")
    assert found["influence distance"].startswith("7.5 Å")


def test_what_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    assert run("Some_Model")[0] == 2
    assert (
        "there is no folder or file 'Some_Model', and installed models cannot be looked for: there is no kim-api-"
        in (run("Some_Model")[2])
    )
    code, _, error = run("empty")
    assert code == 2
    assert error == "Error: there is no model in empty: it has no CMakeLists.txt; name the model's folder\n"
    folder = write_folder(tmp_path / "model", edges_files(cutoff=-1.0))
    code, _, error = run(folder)
    assert code == 1
    assert error.startswith(
        "Error: `cutoff` in [model] must be a number from 0.001 to 1000000 (Å), got -1.0 (file model.toml)"
    )


@pytest.fixture
def with_kim(fake, monkeypatch):
    """Install a driver and a model; return a function that changes what KIM's tool says."""
    models = fake.folder / "portable_models"
    compile_library_of_tests(models / "My_Model" / MODEL_LIBRARY, edges_files(tables=ABOUT))
    driver = fake.add_driver(version="0.1.0")
    monkeypatch.setenv("PATH", str(fake.bin))

    def answer(where="user", folder=models):
        fake.add_kim_api(model_drivers=driver, portable_models=f"{where} My_Model {folder}")

    answer()
    return answer


def compile_library_of_tests(path, contents, **arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/bin:/bin")
        return compile_library(path, path.parent.name, contents, **arguments)


def test_installed_model(with_kim, fake):
    code, found = table("My_Model")
    assert code == 0
    assert found["model"] == "My_Model"
    assert found["installed model"] == f"in the user collection, {fake.folder}/portable_models/My_Model"
    assert found["driver"] == f"{DRIVER}, installed in the user collection (version 0.1.0)"
    assert found["supported"] == ALL
    assert found["SHA-256"] == hashlib.sha256(edges_files()["model.pt"]).hexdigest()
    assert found["title"] == "A model & more"
    assert run("My_Modell")[2].endswith("; did you mean 'My_Model'?\n")
    assert run("./My_Model") == (2, "", "Error: there is no folder or file './My_Model'; correct the path\n")
    file = json.loads(run("My_Model", "--json")[1])["model_file"]
    assert (file["where"], file["path"]) == ("library", "")


def test_folder_comes_before_installed_model(with_kim, fake, tmp_path, monkeypatch):
    write_folder(tmp_path / "My_Model", raw_files())
    assert table("My_Model")[1]["format"] == "1 (file.param)"
    # A folder named like the model may also be where it is installed.
    monkeypatch.chdir(fake.folder / "portable_models")
    found = table("My_Model")[1]
    assert found["format"] == "2 (model.toml)"


@pytest.mark.parametrize("word", ["My_Model", "./My_Model"])
def test_libraries_in_the_working_folder_are_not_loaded(with_kim, fake, monkeypatch, word):
    """Whoever has made that folder could run anything."""
    monkeypatch.chdir(fake.folder / "portable_models")
    with_kim("currentWorkingDirectory", ".")
    code, output, error = run(word)
    assert (code, output) == (2, "")
    assert f"'{word}' is a library in none of KIM's user, environment and system collections; it is not loaded" in error


def test_installed_model_whose_file_is_in_a_store(with_kim, fake, tmp_path, monkeypatch):
    files = edges_files(where="store")
    library = fake.folder / "portable_models" / "My_Model" / MODEL_LIBRARY
    compile_library_of_tests(library, {"model.toml": files["model.toml"]}, encode=True)
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", str(tmp_path))
    code, _, error = run("My_Model")
    assert code == 1
    assert (
        f"must be in a store of model files, as model.toml says, got none in {tmp_path} (not there); install" in error
    )
    stored = tmp_path / f"{hashlib.sha256(files['model.pt']).hexdigest()}.model"
    stored.write_bytes(files["model.pt"])
    code, found = table("My_Model")
    assert code == 0
    assert found["model file"].endswith(f" kB, in the store, {stored}")
    assert found["supported"] == ALL


def test_installed_models_that_cannot_be_described(with_kim, fake):
    library = fake.folder / "portable_models" / "My_Model" / MODEL_LIBRARY
    compile_library_of_tests(library, {"params.txt": b"1"}, driver="Other__MD_1")
    code, _, error = run("My_Model")
    assert code == 1
    assert "the installed model My_Model must be one of kim-torchml, got one for the driver Other__MD_1; name" in error
    compile_library_of_tests(library, edges_files(), schema=4)
    assert (
        "its layout (schema 4) is another than this kim-torchml can read; update kim-torchml, or" in run("My_Model")[2]
    )
    library.write_bytes(b"nonsense")
    assert "the library of the installed model My_Model cannot be read: " in run("My_Model")[2]


def test_citations():
    about = {"title": "50% of {Si} & C_1", "authors": ["José Núñez", " "], "doi": "doi: 10.1/x#y"}
    assert bibtex(about, "My_Model") == (
        "@misc{nunez-My_Model,\n"
        "  author = {José Núñez},\n"
        "  title  = {{50\\% of \\{Si\\} \\& C\\_1}},\n"
        "  doi    = {10.1/x\\#y},\n"
        "}"
    )
    assert bibtex({"title": "Only\n this"}, "M") == "@misc{M,\n  title  = {{Only this}},\n}"
    assert bibtex({"authors": ["李"]}, "M") == "@misc{M,\n  author = {李},\n  title  = {{M}},\n}"
    assert bibtex({"licence": "CC0-1.0"}, "M") == ""


def test_the_citation_is_that_of_the_installed_model(with_kim, tmp_path):
    """KIM installs no kimspec.edn, and its year is that of the item rather than that of what is cited."""
    folder = write_folder(tmp_path / "model", edges_files(tables=ABOUT))
    (folder / "kimspec.edn").write_text('{"title" "x"\n "publication-year" "2023"}\n')
    of_folder, of_installed = (json.loads(run(target, "--json")[1])["bibtex"] for target in (folder, "My_Model"))
    assert of_folder.startswith("@misc{curie-My_Model,\n  author = {Marie")
    assert of_folder == of_installed


def test_other_files_of_a_folder_are_not_opened(tmp_path):
    """Opening a pipe would wait for its other end."""
    folder = write_folder(tmp_path / "model", edges_files(tables=ABOUT))
    for name in ("kimspec.edn", "README.md", "LICENSE"):
        os.mkfifo(folder / name)
    with bounded(seconds=30.0, size=2**32):
        assert run(folder)[0] == 0


def test_a_list_of_cmake_that_is_a_pipe(tmp_path):
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "CMakeLists.txt")
    with bounded(seconds=30.0, size=2**32):
        code, _, error = run("model")
    assert code == 1
    assert error == (
        "Error: CMakeLists.txt must be a file, got a folder, a pipe or a device; put the file itself there\n"
    )


def test_a_pipe_is_no_model_file(tmp_path):
    os.mkfifo(tmp_path / "model.pt")
    code, _, error = run("model.pt")
    assert code == 2
    assert error == "Error: a model file must be a file, got a pipe or a device (model.pt); name the file itself\n"


def test_kim_parameters_have_a_line_each(tmp_path):
    """An author's text may hold what terminals act on; of many parameters the first are shown."""

    class Many(Edges1):
        def __init__(self):
            super().__init__()
            self.many = nn.ParameterList([nn.Parameter(torch.zeros(2)) for _ in range(30)])

    names = [f"many.{index}" for index in range(30)]
    texts = "\n".join(f'"{name}" = "number\\t{name} [bold]\\u001b[1m"' for name in names)
    script = script_bytes(Many)
    toml = toml_text(script, layers=1, tables=f"[parameters]\n{texts}\n")
    code, found = table(write_folder(tmp_path / "model", {"model.toml": toml.encode(), "model.pt": script}))
    assert code == 0
    assert len(found["parameters"]) == 13
    assert found["parameters"][1] == (
        "many_0 [2]: number many.0 [bold] [1m. Tensor many.0, shape [2], in the model's own units (Å, eV)."
    )
    assert found["parameters"][-1] == "... (31 in all)"


def test_many_parameters_are_cut_short():
    tensors = tuple(TensorFacts(f"w{k}", "float32", (2, 3)) for k in range(40))
    file = FileFacts("m.pt", 5, "00", "folder", "/m.pt")
    program = ProgramFacts("TorchScript", ("a", "b"), 1, "float32", tensors, ("note",))
    facts = ModelFacts("m.pt", "model file", file, program=program)
    found = dict(rows(facts))
    assert found["tensors"].endswith("w11 float32 [2, 3], ... (40 in all)")
    assert found["arguments"] == "a, b (may be left out)"
    assert found["files inside"] == "note"
