# SPDX-License-Identifier: LGPL-2.1-or-later
"""The functions that the shim calls, and what is announced once per process."""

import re
import sys

import pytest
import torch
from fresh_python import run_python
from models import CUTOFF, Graph3, PairOfAll, script_bytes
from opening import compute, open_model, parameter_text
from particles import cluster

import kim_torchml
from kim_torchml import driver
from kim_torchml.errors import DriverError
from kim_torchml.process import interpreter


def test_what_the_shim_reads_of_a_model(tmp_path):
    model = open_model(tmp_path, script_bytes(PairOfAll), elements=("Si", "C"), prepare=False)
    assert model.species == ["Si", "C"]
    assert model.cutoff == CUTOFF
    assert model.influence_distance == CUTOFF
    assert model.needs_noncontributing_neighbours is False


def test_a_graph_reaches_as_far_as_its_layers(tmp_path):
    model = open_model(tmp_path, script_bytes(Graph3), kind="Graph", n_layers=3, prepare=False)
    assert model.cutoff == CUTOFF
    assert model.influence_distance == 3 * CUTOFF
    assert model.needs_noncontributing_neighbours is True


def test_a_model_outlives_its_folder(tmp_path):
    model = open_model(tmp_path / "model", script_bytes(PairOfAll), prepare=False)
    for path in (tmp_path / "model").iterdir():
        path.unlink()
    (tmp_path / "model").rmdir()
    model.prepare()
    assert compute(model, cluster())["partialEnergy"][0] != 0


def test_a_descriptor_without_its_file(tmp_path):
    message = r"a model with the descriptor SymmetryFunctions must have one \.dat file, got none among its files"
    with pytest.raises(DriverError, match=message):
        open_model(tmp_path, script_bytes(PairOfAll), kind="Descriptor", descriptor="SymmetryFunctions")


def test_a_device_that_is_not_there_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", "tpu")
    with pytest.raises(DriverError, match=r"`KIM_MODEL_EXECUTION_DEVICE` must be cpu, cuda or cuda:N, got 'tpu'"):
        open_model(tmp_path, script_bytes(PairOfAll), prepare=False)


NO_TORCH = """
import sys
sys.modules["torch"] = None
from kim_torchml import driver
try:
    driver.open_model(sys.argv[1], ["kim.param"])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_an_environment_without_torch(tmp_path):
    (tmp_path / "kim.param").write_text(parameter_text())
    message = (
        r"^DriverError torch cannot be imported \(.*torch.*\) in the Python environment of this process "
        rf"\({re.escape(sys.prefix)}\); install it there, or name the python of an environment that has it in "
        r"KIM_TORCHML_PYTHON"
    )
    assert re.search(message, run_python(NO_TORCH, arguments=[tmp_path]))


def test_a_torch_that_is_broken(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libtorch.so: cannot open shared object file')")
    code = NO_TORCH.replace('sys.modules["torch"] = None', "")
    assert "cannot be imported (libtorch.so: cannot open shared object file) in" in run_python(
        code, [tmp_path], [tmp_path]
    )


def test_importing_the_driver_imports_neither_torch_nor_numpy():
    printed = run_python("import sys, kim_torchml.driver\nprint('torch' in sys.modules, 'numpy' in sys.modules)")
    assert printed.split() == ["False", "False"]


def test_a_process_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(interpreter, "is_ours", False)
    calls = []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    open_model(tmp_path, script_bytes(PairOfAll))
    assert calls == []
    driver.own_this_process()
    assert interpreter.is_ours is True
    open_model(tmp_path, script_bytes(PairOfAll))
    assert len(calls) == 1


def test_one_line_at_first_use(tmp_path, talkative, monkeypatch, capfd):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "5")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1")
    model = open_model(tmp_path, script_bytes(PairOfAll))
    said = capfd.readouterr().err
    facts = [
        f"driver {kim_torchml.__version__}",
        f"torch {torch.__version__}",
        "model model.pt (None)",
        "device cpu",
        f"{torch.get_num_threads()} ",
    ]
    assert said.startswith("[kim-torchml rank 5] " + ", ".join(facts))
    assert said.endswith("\n")
    assert said.count("\n") == 1
    model.prepare()
    open_model(tmp_path, script_bytes(Graph3), kind="Graph", n_layers=3)
    assert capfd.readouterr().err == ""


def test_the_line_names_no_rank_where_there_is_none(tmp_path, talkative, capfd):
    open_model(tmp_path, script_bytes(PairOfAll))
    assert capfd.readouterr().err.startswith("[kim-torchml] driver ")


def test_nothing_is_said_before_the_model_runs(tmp_path, talkative, capfd):
    open_model(tmp_path, script_bytes(PairOfAll), prepare=False)
    assert capfd.readouterr().err == ""


def test_the_line_can_be_silenced(tmp_path, talkative, monkeypatch, capfd):
    monkeypatch.setenv("KIM_TORCHML_QUIET", "1")
    open_model(tmp_path, script_bytes(PairOfAll))
    assert capfd.readouterr().err == ""
