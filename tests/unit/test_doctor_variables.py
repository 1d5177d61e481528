# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the doctor says of variables that break torch, and of those that are on or off."""

import sys

import pytest
from fake_machine import TORCH, add_package, make_environment, only

from kim_torchml.tools.doctor import Status
from kim_torchml.tools.doctor.check_python import check_torch_and_numpy
from kim_torchml.tools.doctor.check_variables import check_on_error, check_switches


@pytest.fixture
def python(fake, monkeypatch):
    """The Python of an environment that has torch and numpy, as if it ran this process."""
    python = make_environment(fake.folder / "environment")
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "numpy", "2.0.0")
    monkeypatch.setattr(sys, "executable", str(python))
    return python


def test_python_path_of_another_python(fake, python):
    folder = fake.folder / "lib" / "python3.6" / "site-packages"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("raise ImportError('no module named torch._C')")
    fake.environment |= {"PYTHONPATH": str(folder), "TORCH_HOME": "/somewhere"}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == (
        f"torch 2.9.0 cannot be imported in the environment of {python} while PYTHONPATH is set to '{folder}': "
        "ImportError: no module named torch._C"
    )
    assert finding.commands == ("unset PYTHONPATH",)


def test_a_variable_that_breaks_torch(fake, python):
    broken = "import os\nif 'TORCH_LOGS' in os.environ: raise ValueError('Error: bad logs')\n"
    package = python.parents[1] / "lib"
    (file,) = package.glob("python*/site-packages/torch/__init__.py")
    file.write_text(broken + file.read_text())
    fake.environment |= {"TORCH_LOGS": "", "PYTHONPATH": str(fake.folder)}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert "while TORCH_LOGS is set to '': ValueError: Error: bad logs" in finding.found
    assert finding.commands == ("unset TORCH_LOGS",)


def test_a_torch_that_no_variable_has_broken(fake, python):
    (file,) = (python.parents[1] / "lib").glob("python*/site-packages/torch/__init__.py")
    file.write_text("raise ImportError('libcudart.so.12: cannot open')")
    fake.environment |= {"TORCH_LOGS": "", "PYTHONPATH": str(fake.folder)}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert "while" not in finding.found
    assert "--force-reinstall" in finding.commands[-1]


def test_torchscript_is_switched_off(fake, python):
    (file,) = (python.parents[1] / "lib").glob("python*/site-packages/torch/__init__.py")
    file.write_text(file.read_text().replace("enabled = True", "enabled = False"))
    finding = only(check_torch_and_numpy(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "TorchScript is switched off in torch 2.9.0" in finding.found
    assert finding.commands == ("unset PYTORCH_JIT",)


def test_the_torch_of_these_tests_without_torchscript(fake):
    """The doctor asks the real torch for it, too."""
    fake.environment["PYTORCH_JIT"] = "0"
    assert "TorchScript is switched off" in check_torch_and_numpy(fake.machine())[0].found


@pytest.mark.parametrize("name", ["KIM_MODEL_ELEMENTS_MAP", "KIM_TORCHML_QUIET", "KIM_TORCHML_DETERMINISTIC"])
def test_switches(name, fake):
    fake.environment[name] = "off"
    assert check_switches(fake.machine()) == []
    fake.environment[name] = "nein"
    finding = only(check_switches(fake.machine()))
    assert finding.status is Status.WARNING
    assert f"{name} must be one of 1, true, yes, on, or 0, false, no, off, got 'nein', which counts" in finding.found
    assert finding.commands == (f"export {name}=1", f"unset {name}")


@pytest.mark.parametrize(("value", "status"), [("exit", "ok"), ("Return", "ok"), ("stop", "problem")])
def test_on_error(value, status, fake):
    assert check_on_error(fake.machine()) == []
    fake.environment["KIM_TORCHML_ON_ERROR"] = value
    finding = only(check_on_error(fake.machine()))
    assert finding.status.value == status
    assert ("it must be exit or return, got 'stop', which counts as return" in finding.found) is (status == "problem")
