# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml package`: a complete folder from a model file."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from defective import WrongForces
from fresh_python import SOURCE
from models import Edges3, PairWithForces, script_bytes
from saving import contents_of, files_with, left_in, opened

from kim_torchml.model_files.toml_parser import tomllib
from kim_torchml.tools.cli import main

STATED = {"--name": "My_Model", "--kind": "edges", "--species": "Si,C", "--cutoff": "2.5", "--layers": "3"}


def words_of(**changes):
    """Return the options of a model of edges; a change to None leaves one out."""
    stated = STATED | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return [word for name, value in stated.items() if value is not None for word in (name, value) if word != ""]


def package(file, output, *more, **changes):
    return CliRunner().invoke(main, ["package", str(file), "--output", str(output), *words_of(**changes), *more])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "network.pt"
    path.write_bytes(script_bytes(Edges3))
    return path


def test_the_folder_is_complete(file, tmp_path):
    more = ["--title", "A title", "--author", "Marie Curie", "--author", "Lise Meitner", "--doi", "10.1/2"]
    more += ["--description", "For tests", "--trained-on", "nothing"]
    more += ["--smallest-distance", "0.7", "--most-neighbours", "90", "--stop"]
    more += ["--licence", "MIT", "--parameter", "weight=strength = large", "--species-as", "atomic numbers"]
    result = package(file, tmp_path / "model", *more)
    assert result.exit_code == 0, result.output
    assert left_in(tmp_path / "model") == files_with("model.pt")
    assert left_in(tmp_path) == ["model", "network.pt"]
    assert (tmp_path / "model" / "model.pt").read_bytes() == file.read_bytes()
    found = tomllib.loads((tmp_path / "model" / "model.toml").read_text())
    assert found["model"] | {"sha256": ""} == {
        "file": "model.pt", "sha256": "", "kind": "edges", "dtype": "float64", "species": ["Si", "C"], "cutoff": 2.5,
        "species_as": "atomic numbers", "layers": 3, "energy": "per particle", "returns_forces": False,
    }  # fmt: skip
    about = {"title": "A title", "authors": ["Marie Curie", "Lise Meitner"], "doi": "10.1/2", "licence": "MIT"}
    assert found["about"] == about | {"description": "For tests", "trained_on": "nothing"}
    assert found["limits"] == {"smallest_distance": 0.7, "most_neighbours": 90, "stop": True}
    assert found["parameters"] == {"weight": "strength = large"}
    assert opened(tmp_path / "model").influence_distance == 7.5
    lines = result.output.splitlines()
    assert lines[0] == f"wrote {tmp_path / 'model'}: model.toml, model.pt, CMakeLists.txt, kimspec.edn, README.md"
    assert re.match(r"  forces: \S+ eV/Å from differences of the energy", lines[-1])
    assert lines[1].startswith("layers: ")
    assert len(lines) == 4


def test_other_kinds(tmp_path, request):
    (tmp_path / "pair.pt").write_bytes(script_bytes(PairWithForces))
    result = package(tmp_path / "pair.pt", tmp_path / "pair", "--returns-forces", kind="none", layers=None)
    assert result.exit_code == 0, result.output
    example = request.config.rootpath / "examples" / "descriptor"
    result = package(
        example / "descriptor.pt", tmp_path / "descriptor", kind="descriptor", layers=None, cutoff="4.5", species="Si",
        descriptor="SymmetryFunctions", descriptor_file=str(example / "descriptor.dat"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert left_in(tmp_path / "descriptor") == sorted([*files_with("model.pt"), "descriptor.dat"])


MISUSE = [
    ({"name": "1st"}, [], "--name must be a KIM id"),
    ({"name": None}, [], "Missing option '--name'"),
    ({"name": "a" * 201}, [], "--name must have at most 200 letters, got 201"),
    ({"kind": "edge"}, [], '--kind must be "none", "descriptor", "graph" or "edges", got \'edge\''),
    ({"kind": "none"}, [], "--layers must be left out for the kind none, got 3; remove it"),
    ({"kind": "descriptor"}, [], "--descriptor must be given for the kind descriptor, got none; give one such as"),
    ({}, ["--descriptor", "SOAP"], "--descriptor must be left out for the kind edges, got 'SOAP'; leave it out"),
    ({"species": "Si,Cx"}, [], "--species must be symbols of chemical elements"),
    ({"species": ","}, [], "must name elements, such as Si,C, got ','"),
    ({}, ["--title", " "], "--title must be a text, got ' '"),
    ({}, ["--doi", "none"], "--doi must be a DOI, got 'none'"),
    ({}, ["--author", " "], "--author must be a list of texts"),
    ({"cutoff": "far"}, [], "'far' is not a valid float"),
    ({"cutoff": "nan"}, [], "--cutoff must be a number"),
    ({"layers": "0"}, [], "--layers must be a whole number"),
    ({}, ["--energy", "each"], "'each' is not one of 'per particle', 'total'"),
    ({}, ["--species-as", "names"], "'names' is not one of 'codes', 'atomic numbers'"),
    ({}, ["--dtype", "int"], "'int' is not one of 'float64'"),
    ({}, ["--parameter", "weight"], "must be NAME=TEXT, got weight"),
    ({}, ["--descriptor-file", "none.dat"], "'none.dat' does not exist"),
    ({}, ["--returns-forces"], "--returns-forces must be false for the kind edges"),
    ({}, ["--driver", "a b"], "--driver must be a KIM id"),
    ({}, ["--smallest-distance", "-1"], "--smallest-distance must be a number from 0.001"),
    ({}, ["--most-neighbours", "0"], "--most-neighbours must be a whole number from 1"),
    ({}, ["--stop"], "--stop needs a limit, got none; give --smallest-distance or --most-neighbours too"),
]


@pytest.mark.parametrize(("changes", "more", "said"), MISUSE, ids=[each[2] for each in MISUSE])
def test_misuse_has_exit_status_2(changes, more, said, file, tmp_path):
    result = package(file, tmp_path / "model", *more, **changes)
    assert result.exit_code == 2
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert not any(word in errors[0] for word in ("model.toml", " in [", "`"))
    assert left_in(tmp_path) == ["network.pt"]


def test_a_file_that_is_not_there(tmp_path):
    result = package(tmp_path / "none.pt", tmp_path / "model")
    assert result.exit_code == 2
    assert "does not exist" in result.output


WRONG = [
    (b"no model", {}, "the model file FILE must be TorchScript"),
    (script_bytes(Edges3), {"layers": "2"}, "FILE must depend on nothing beyond .* correct --layers, the cutoff, or"),
    (script_bytes(Edges3), {"kind": "none", "layers": None}, r'FILE must take 5 inputs, as was said \(kind = "none"\)'),
    (script_bytes(WrongForces), {"kind": "none", "layers": None, "returns_forces": ""},
     "the forces of the model in FILE must be minus the derivative"),
    (script_bytes(Edges3), {"parameter": "none=x"}, "--parameter of the model in FILE must name dense"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "changes", "said"), WRONG, ids=[each[2] for each in WRONG])
def test_a_model_that_is_not_what_was_said(content, changes, said, file, tmp_path):
    file.write_bytes(content)
    result = package(file, tmp_path / "model", **changes)
    assert result.exit_code == 1
    assert re.fullmatch(rf"Error: .*{said.replace('FILE', re.escape(str(file)))}.*\n", result.output)
    assert not re.search(r"model\.(pt|toml)", result.output)
    assert left_in(tmp_path) == ["network.pt"]


def test_files_are_replaced_only_where_that_is_asked_for(file, tmp_path):
    assert package(file, tmp_path / "model").exit_code == 0
    before = contents_of(tmp_path / "model")
    result = package(file, tmp_path / "model", name="Other")
    assert result.exit_code == 2
    assert "must be new or empty, got one with files in it; name another folder, or replace the model in it with" in (
        result.output
    )
    assert contents_of(tmp_path / "model") == before
    assert package(file, tmp_path / "model", "--replace", name="Other").exit_code == 0
    assert b"project(Other)" in contents_of(tmp_path / "model")["CMakeLists.txt"]


def test_the_help_has_an_example():
    assert "kim-torchml package network.pt --output ./My_Model" in CliRunner().invoke(main, ["package", "-h"]).output


def test_ctrl_c_leaves_nothing_behind(file, tmp_path):
    """The signal comes when the files are written and the checks begin."""
    code = (
        "import sys, time\n"
        "from kim_torchml.tools.package import written_model\n"
        "written_model.check_first = lambda *arguments: (print('checking', flush=True), time.sleep(60))\n"
        "from kim_torchml.tools.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    words = ["package", str(file), "--output", str(tmp_path / "model"), *words_of()]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "checking\n"
        assert len(left_in(tmp_path)) == 2
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "kim-torchml: interrupted\n"
    assert left_in(tmp_path) == ["network.pt"]
