# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml install` compiles a program of torch.export, where that is wanted and of use; else it says why not."""

import sys

import pytest
import torch
from exporting import exported_bytes
from model_folders import DRIVER, edges_files, toml_text, write_folder
from models import Edges1
from program_files import needs_export
from test_installing import Kim

from kim_torchml.engines import CacheEntry, NotCompiledError, Progress
from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.tools.cli.compile import shown
from kim_torchml.tools.compilation import compile_model

NAME = "My_Model"


@pytest.fixture
def kim(fake, monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "cached")
    return Kim(fake, monkeypatch)


@pytest.fixture(scope="module")
def content():
    """torch.export may leave folders among temporary files, those of the commands must be gone."""
    return exported_bytes(Edges1)


@pytest.fixture
def folder(tmp_path, content):
    files = {"model.toml": toml_text(content, file="model.pt2").encode(), "model.pt2": content}
    return write_folder(tmp_path / "model", files)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Let compiling take no time; return what was asked for."""
    asked = []

    def compiled_program(program, content, signature, name, say, force):
        asked.append((name, program.device, content, force))
        key = Key("0" * 64, "float64", 2, "cpu", "AVX2", torch.__version__, "linux x86_64")
        facts = Facts("program.so", "float64", {1: 2.5, 2: 1.5}, 61.0)
        return CacheEntry(tmp_path / "cache" / key.digest, key, facts, {}, name, 0.0), True

    monkeypatch.setattr(compile_model, "compiled_program", compiled_program)
    return asked


@needs_export
def test_an_exported_program_is_compiled(kim, folder, asked):
    code, output, error = kim.run("install", folder)
    assert code == 0
    assert error == f"compiling {NAME} for cpu: a minute or a few (--no-compile leaves that out)\n"
    *_, line, place = output.splitlines()
    assert line == (
        f"{NAME} is compiled for cpu (in 61 s): 2.50 x (1 thread), 1.50 x (2 threads) the speed of the program itself; "
        "simulators run the faster one"
    )
    assert "cache" in place
    assert asked == [(NAME, torch.device("cpu"), (folder / "model.pt2").read_bytes(), False)]


def without(kim, folder, *options):
    """Check that a model is installed, and nothing is said but that."""
    code, output, error = kim.run("install", folder, *options)
    assert (code, error) == (0, "")
    assert len(output.splitlines()) == 2
    assert kim.library.exists()


@needs_export
def test_without_compiling(kim, folder, asked, monkeypatch):
    without(kim, folder, "--no-compile")
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    without(kim, folder)
    assert asked == []


def test_torchscript_is_not_compiled(kim, tmp_path, asked):
    without(kim, write_folder(tmp_path / "model", edges_files()))
    assert asked == []


@needs_export
def test_a_model_that_cannot_be_compiled_is_installed(kim, folder, monkeypatch):
    def failing(*arguments):
        raise NotCompiledError("sizes in it depend on values (aten.nonzero)")

    monkeypatch.setattr(compile_model, "compiled_program", failing)
    code, output, error = kim.run("install", folder)
    assert code == 0
    assert kim.library.exists()
    assert f"{NAME} is installed in the user collection" in output
    assert error.splitlines()[1:] == [f"warning: {NAME} runs uncompiled: sizes in it depend on values (aten.nonzero)"]


@needs_export
def test_a_device_that_is_not_there(kim, folder, asked, monkeypatch):
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", "cuda:99")
    code, _, error = kim.run("install", folder)
    assert code == 0
    assert f"warning: {NAME} runs uncompiled: KIM_MODEL_EXECUTION_DEVICE" in error or "cuda:99" in error
    assert asked == []


@needs_export
def test_a_word_that_is_none(kim, folder, asked, monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "always")
    code, _, error = kim.run("install", folder)
    assert code == 0
    assert f"warning: {NAME} runs uncompiled: the environment variable KIM_TORCHML_COMPILE must be never, " in error


def move_driver(kim, before, after):
    """Let the driver have been built for another Python."""
    record = kim.fake.folder / "model_drivers" / DRIVER / "installation.json"
    text = record.read_text()
    assert f'"python_executable": "{before}"' in text
    record.write_text(text.replace(f'"python_executable": "{before}"', f'"python_executable": "{after}"'))


@needs_export
def test_a_driver_in_another_environment(kim, folder, asked):
    """It has a torch of its own, and finds nothing that another torch has made."""
    move_driver(kim, "", "/opt/my env/bin/python")
    code, _, error = kim.run("install", folder)
    assert code == 0
    assert error == (
        f"note: {NAME} is not compiled: its driver runs in the environment of /opt/my env/bin/python; to compile it "
        f"there, run `'/opt/my env/bin/python' -m kim_torchml compile {NAME}`\n"
    )
    assert asked == []
    move_driver(kim, "/opt/my env/bin/python", sys.executable)
    assert "is compiled for cpu" in kim.run("install", folder)[1]


@needs_export
def test_compiling_says_that_the_driver_has_another_environment(kim, folder, asked):
    code, output, error = kim.run("compile", folder)
    assert (code, error) == (0, "")
    assert output.startswith(f"{NAME} is compiled for cpu (in 61 s): 2.50 x (1 thread), ")
    move_driver(kim, "", "/opt/env/bin/python")
    code, output, error = kim.run("compile", folder)
    assert code == 0
    assert f"{NAME} is compiled for cpu" in output
    assert error == (
        f"note: the driver of {NAME} runs in the environment of /opt/env/bin/python, and takes this only if torch has "
        f"the same version there; else run `/opt/env/bin/python -m kim_torchml compile {NAME}`\n"
    )


@needs_export
def test_what_cannot_be_compiled(kim, folder, tmp_path, asked, monkeypatch):
    code, _, error = kim.run("compile", write_folder(tmp_path / "scripted", edges_files()))
    assert code == 2
    assert "must be a program of torch.export (.pt2) to be compiled, got model.pt, TorchScript; save the" in error
    code, _, error = kim.run("compile", folder / "model.pt2")
    assert code == 2
    assert "name a model's folder or an installed model, got the file " in error
    code, _, error = kim.run("compile", "Unknown_Model")
    assert code == 2
    assert "Unknown_Model" in error
    code, _, error = kim.run("compile", folder, "--device", "cuda:99")
    assert code == 1
    assert "cuda:99" in error
    assert asked == []

    def failing(*arguments):
        raise NotCompiledError("sizes in it depend on values (aten.nonzero)")

    monkeypatch.setattr(compile_model, "compiled_program", failing)
    code, _, error = kim.run("compile", folder)
    assert (code, error) == (1, "Error: sizes in it depend on values (aten.nonzero)\n")


@needs_export
def test_compiling_once_more_when_that_is_asked_for(kim, folder, asked):
    assert kim.run("compile", folder, "--force")[0] == 0
    assert [force for _, _, _, force in asked] == [True]


def test_progress_says_what_is_left():
    shown_texts = []
    show = shown(lambda text, part: shown_texts.append((text, part)))
    for stage, part, seconds in (("starting", 0.0, 2.0), ("exporting it", 0.2, 8.0), ("timing it", 0.97, 97.0)):
        show(Progress(stage, part, seconds))
    assert shown_texts == [("starting", 0.0), ("exporting it, 32 s left", 0.2), ("timing it, 3 s left", 0.97)]
