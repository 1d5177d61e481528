# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml install` compiles a program of torch.export, where that is wanted and of use; else it says why not."""

import re
import sys

import pytest
import torch
from exporting import exported_bytes
from model_folders import DRIVER, edges_files, raw_files, toml_text, write_folder
from models import Edges1
from program_files import needs_export
from test_installing import Kim

from kim_torchml.engines import CacheEntry, NotCompiledError, Progress
from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.tools.cli.compile import shown
from kim_torchml.tools.compilation import compile_model
from kim_torchml.tools.late_progress import LateProgress

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
        for stage, seconds in (("starting", 0.5), ("starting", 1.0), ("exporting it", 8.2)):
            say(Progress(stage, 0.2, seconds))
        key = Key("0" * 64, "float64", 2, "cpu", "AVX2", torch.__version__, "linux x86_64")
        facts = Facts("program.so", "float64", {1: 2.5, 2: 1.5}, 61.0)
        return CacheEntry(tmp_path / "cache" / key.digest, key, facts, {}, name, 0.0), True

    monkeypatch.setattr(compile_model, "compiled_program", compiled_program)
    return asked


@needs_export
def test_an_exported_program_is_compiled(kim, folder, asked):
    code, output, error = kim.run("install", folder)
    assert code == 0
    # Without a terminal there is a line for each stage.
    assert error.splitlines() == [
        f"compiling {NAME} for cpu: a minute or a few (--no-compile leaves that out)",
        f"compiling {NAME}: starting (0 s)",
        f"compiling {NAME}: exporting it (8 s)",
    ]
    *_, line, place = output.splitlines()
    assert line == (
        f"{NAME} is compiled for cpu (in 61 s): 2.50 x (1 thread), 1.50 x (2 threads) the speed of the program itself, "
        "without neighbours and all else of a step; simulators run the faster one"
    )
    assert "cache" in place
    assert asked == [(NAME, torch.device("cpu"), (folder / "model.pt2").read_bytes(), False)]


def without(kim, folder, *options, said=""):
    """Check that a model is installed, and nothing is said but that, and what is expected on stderr."""
    code, output, error = kim.run("install", folder, *options)
    assert (code, error) == (0, said)
    assert len(output.splitlines()) == 2
    assert kim.library.exists()


@needs_export
def test_without_compiling(kim, folder, asked, monkeypatch):
    without(kim, folder, "--no-compile")
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    without(kim, folder, "--no-compile")
    without(kim, folder, said=f"note: {NAME} is not compiled, as KIM_TORCHML_COMPILE is never\n")
    assert asked == []


def test_a_model_that_nothing_compiles_is_not_told_of_the_word(kim, tmp_path, monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    without(kim, write_folder(tmp_path / "model", edges_files()))


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
    # Nothing had begun.
    assert error == f"warning: {NAME} runs uncompiled: sizes in it depend on values (aten.nonzero)\n"


def unopened(kim, folder, reason, *options):
    """Check that a model is installed, and is said not to be opened by simulators."""
    code, output, error = kim.run("install", folder, *options)
    assert code == 0
    assert len(output.splitlines()) == 2
    assert re.fullmatch(rf"warning: simulators do not open {NAME}: {reason}\n", error), error


NO_DEVICE = r"`KIM_MODEL_EXECUTION_DEVICE` asks for 'cuda:99', but that device is not there; available here: .*"
NO_WORD = "the environment variable KIM_TORCHML_COMPILE must be never, cached or now, got 'always'; correct or unset it"
UNOPENED = [("KIM_MODEL_EXECUTION_DEVICE", "cuda:99", NO_DEVICE), ("KIM_TORCHML_COMPILE", "always", NO_WORD)]


@needs_export
@pytest.mark.parametrize(("variable", "value", "reason"), UNOPENED)
def test_installing_says_what_a_simulator_would_say(variable, value, reason, kim, folder, tmp_path, asked, monkeypatch):
    monkeypatch.setenv(variable, value)
    unopened(kim, folder, reason)
    unopened(kim, folder, reason, "--no-compile")
    unopened(kim, write_folder(tmp_path / "scripted", edges_files()), reason)
    assert asked == []


@needs_export
@pytest.mark.parametrize(("variable", "value", "reason"), UNOPENED)
def test_compiling_says_what_a_simulator_would_say(variable, value, reason, kim, folder, asked, monkeypatch):
    monkeypatch.setenv(variable, value)
    code, output, error = kim.run("compile", folder, "--device", "cpu")
    assert code == 0
    assert output.startswith(f"{NAME} is compiled for cpu")
    (line,) = [each for each in error.splitlines() if not each.startswith("compiling ")]
    assert re.fullmatch(f"warning: simulators open no model: {reason}", line)


@needs_export
def test_compiling_what_simulators_will_not_use(kim, folder, asked, monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    code, _, error = kim.run("compile", folder)
    assert code == 0
    assert error.splitlines()[0] == "note: KIM_TORCHML_COMPILE is never: simulators do not use what is compiled"


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
    stages = f"compiling {folder}: starting (0 s)\ncompiling {folder}: exporting it (8 s)\n"
    code, output, error = kim.run("compile", folder)
    assert (code, error) == (0, stages)
    assert output.startswith(f"{NAME} is compiled for cpu (in 61 s): 2.50 x (1 thread), ")
    move_driver(kim, "", "/opt/env/bin/python")
    code, output, error = kim.run("compile", folder)
    assert code == 0
    assert f"{NAME} is compiled for cpu" in output
    assert error == (
        f"{stages}note: the driver of {NAME} runs in the environment of /opt/env/bin/python, and takes this only if "
        f"torch has the same version there; else run `/opt/env/bin/python -m kim_torchml compile {NAME}`\n"
    )


@needs_export
def test_what_cannot_be_compiled(kim, folder, tmp_path, asked, monkeypatch):
    code, _, error = kim.run("compile", write_folder(tmp_path / "scripted", edges_files()))
    assert code == 2
    assert error == (
        "Error: the model file must be a program of torch.export (.pt2) to be compiled, got model.pt, TorchScript; "
        'save it with file_format="pt2" in kim_torchml.save_model, which says what in its code is in the way\n'
    )
    code, _, error = kim.run("compile", write_folder(tmp_path / "raw", raw_files()))
    assert code == 2
    assert error.endswith(
        'got model.pt, TorchScript; file_format="pt2" of kim_torchml.save_model is for models of the kind edges alone, '
        "and this is one of none\n"
    )
    code, _, error = kim.run("compile", folder / "model.pt2")
    assert code == 2
    assert "name a model's folder or an installed model, got the file " in error
    code, _, error = kim.run("compile", "Unknown_Model")
    assert code == 2
    assert "Unknown_Model" in error
    code, _, error = kim.run("compile", folder, "--device", "cuda:99")
    assert code == 1
    assert error.startswith("Error: `--device` asks for 'cuda:99', but that device is not there; available here: cpu")
    code, _, error = kim.run("compile", folder, "--device", "gpu")
    assert error.startswith("Error: `--device` must be cpu, cuda or cuda:N, got 'gpu'; available here: cpu")
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", "cuda:99")
    code, _, error = kim.run("compile", folder)
    assert code == 1
    assert error.startswith("Error: `KIM_MODEL_EXECUTION_DEVICE` asks for 'cuda:99'")
    monkeypatch.delenv("KIM_MODEL_EXECUTION_DEVICE")
    assert asked == []

    def failing(*arguments):
        raise NotCompiledError("sizes in it depend on values (aten.nonzero)")

    monkeypatch.setattr(compile_model, "compiled_program", failing)
    code, _, error = kim.run("compile", folder)
    assert (code, error) == (1, "Error: sizes in it depend on values (aten.nonzero)\n")


def test_a_model_of_another_driver_cannot_be_compiled(kim, tmp_path, folder):
    folder_of_other = tmp_path / "other"
    folder_of_other.mkdir()
    (folder_of_other / "CMakeLists.txt").write_text(
        'add_kim_api_model_library(NAME "Other" DRIVER_NAME "SW__MD_1" PARAMETER_FILES "si.params")\n'
    )
    (folder_of_other / "si.params").touch()
    code, _, error = kim.run("compile", folder_of_other)
    assert (code, error) == (
        2,
        "Error: the model Other must be one of kim-torchml to be compiled, got one for the driver SW__MD_1; name "
        "another model\n",
    )
    # Its files may have names like ours.
    (kim.fake.folder / "model_drivers" / DRIVER / "kim_torchml_shim.so").unlink()
    (kim.fake.folder / "model_drivers" / DRIVER / "installation.json").unlink()
    code, _, error = kim.run("compile", folder)
    assert code == 2
    assert f"the model {NAME} must be one of kim-torchml to be compiled, got one for the driver {DRIVER}" in error


@needs_export
def test_compiling_once_more_when_that_is_asked_for(kim, folder, asked):
    assert kim.run("compile", folder, "--force")[0] == 0
    assert [force for _, _, _, force in asked] == [True]


def test_progress_says_what_is_left():
    shown_texts = []

    class Terminal(LateProgress):
        is_silent = False

        def __call__(self, what, fraction=None):
            shown_texts.append((what, fraction))

    show = shown(Terminal(), NAME)
    for stage, part, seconds in (("starting", 0.0, 2.0), ("exporting it", 0.2, 8.0), ("timing it", 0.97, 97.0)):
        show(Progress(stage, part, seconds))
    assert shown_texts == [("starting", 0.0), ("exporting it, 32 s left", 0.2), ("timing it, 3 s left", 0.97)]
