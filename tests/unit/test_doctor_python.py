# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from fake_machine import TORCH, add_package, make_environment, only, script
from fresh_python import run_python

from kim_torchml.tools.doctor import Status
from kim_torchml.tools.doctor.check_python import (
    check_ase_and_kimpy,
    check_device,
    check_operator_packages,
    check_report_packages,
    check_torch_and_numpy,
)
from kim_torchml.tools.doctor.check_variables import (
    check_dump_folder,
    check_python_home,
    check_python_variable,
    check_threads,
)


@pytest.fixture
def python(fake, monkeypatch):
    """The Python of an empty environment, as if it ran this process."""
    python = make_environment(fake.folder / "environment")
    add_package(python, "pip", "26.0")
    monkeypatch.setattr(sys, "executable", str(python))
    return python


def test_torch_of_these_tests(fake):
    finding = only(check_torch_and_numpy(fake.machine()))
    assert finding.status is Status.OK
    assert sys.executable in finding.found


def test_no_torch_and_no_numpy(fake, python):
    torch, numpy = check_torch_and_numpy(fake.machine())
    assert torch.status is numpy.status is Status.PROBLEM
    assert torch.found == f"torch is not installed in the environment of {python}"
    assert torch.commands == (f"{python} -m pip install 'torch>=2.4'",)
    assert numpy.commands == (f"{python} -m pip install numpy",)
    assert only(check_device(fake.machine())).status is Status.SKIPPED
    assert [finding.status for finding in check_operator_packages(fake.machine())] == [Status.SKIPPED] * 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12: cannot open"),
        ("import os; os.abort()", "it was ended by signal 6"),
        ("import os; os._exit(0)", "it printed nothing"),
    ],
)
def test_torch_that_cannot_be_imported(fake, python, code, reason):
    add_package(python, "torch", "2.9.0", code)
    finding = check_torch_and_numpy(fake.machine())[0]
    assert finding.status is Status.PROBLEM
    assert f"torch 2.9.0 cannot be imported in the environment of {python}: " in finding.found
    assert reason in finding.found
    assert finding.commands == (f"{python} -m pip install --force-reinstall --no-deps 'torch>=2.4'",)


@pytest.mark.parametrize(("version", "status"), [("2.3.1", "problem"), ("2.4.0", "ok"), ("2.13.0+cu126", "ok")])
def test_version_of_torch(fake, python, version, status):
    add_package(python, "torch", version, TORCH.format(cuda=None, gpus=0))
    finding = check_torch_and_numpy(fake.machine())[0]
    assert finding.status.value == status
    assert ("is too old: 2.4 or newer is needed" in finding.found) == (status == "problem")


@pytest.mark.parametrize(("version", "is_remarked"), [("2.8.0", True), ("2.9.0", False), ("2.13.0+cu126", False)])
def test_torch_that_writes_no_programs(fake, python, version, is_remarked):
    """It is no problem: it runs them."""
    add_package(python, "torch", version, TORCH.format(cuda=None, gpus=0))
    finding = check_torch_and_numpy(fake.machine())[0]
    assert finding.status is Status.OK
    assert finding.found.endswith("; saving models as .pt2 files needs torch 2.9") is is_remarked


def device_finding(fake, python, request, cuda, gpus):
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=cuda, gpus=gpus))
    if request is not None:
        fake.environment["KIM_MODEL_EXECUTION_DEVICE"] = request
    return only(check_device(fake.machine()))


@pytest.mark.parametrize("request_", ["gpu", "cuda:", "cpu:0", "cuda:-1"])
def test_device_that_means_nothing(fake, python, request_):
    finding = device_finding(fake, python, request_, None, 0)
    assert finding.status is Status.PROBLEM
    assert f"KIM_MODEL_EXECUTION_DEVICE must be cpu, cuda or cuda:N, got '{request_}'" in finding.found
    assert finding.commands == ("export KIM_MODEL_EXECUTION_DEVICE=cpu",)


def test_device_that_is_not_there(fake, python):
    finding = device_finding(fake, python, "cuda:2", "12.6", 2)
    assert finding.status is Status.PROBLEM
    assert "sees only: cpu, cuda:0 (NVIDIA Test), cuda:1 (NVIDIA Test)" in finding.found
    assert "nvidia-smi" in finding.commands


def test_cuda_with_a_torch_without_it(fake, python):
    finding = device_finding(fake, python, "cuda", None, 0)
    assert finding.status is Status.PROBLEM
    assert "This torch is built without CUDA. Install a CUDA build of it" in finding.advice


def test_torch_with_cuda_that_sees_no_gpu(fake, python):
    finding = device_finding(fake, python, None, "12.6", 0)
    assert finding.status is Status.WARNING
    assert "torch is built for CUDA 12.6, but sees no GPU" in finding.found


def test_device_that_is_there(fake, python):
    finding = device_finding(fake, python, " CUDA:1 ", "12.6", 2)
    assert finding.status is Status.OK
    assert "'CUDA:1'; torch sees: cpu, cuda:0 (NVIDIA Test), cuda:1 (NVIDIA Test)" in finding.found


def test_operators(fake, python):
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "torch_scatter", "2.1.2")
    scatter, sparse = check_operator_packages(fake.machine())
    assert scatter.status is sparse.status is Status.OK
    assert scatter.found.startswith("2.1.2, installed and used")
    assert sparse.found.startswith("not installed: kim-torchml's own operators stand in")


def test_operators_built_for_another_torch(fake, python):
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "torch_sparse", "0.6.18", "raise OSError('_convert_cpu.so: undefined symbol')")
    finding = check_operator_packages(fake.machine())[1]
    assert finding.status is Status.PROBLEM
    assert "0.6.18 cannot be imported" in finding.found
    assert "undefined symbol" in finding.found
    assert finding.commands == (
        f"{python} -m pip uninstall torch-sparse",
        f"{python} -m pip install --force-reinstall --no-deps --no-build-isolation torch-sparse",
    )


BROKEN = {
    "torch_cluster": "torch-cluster",
    "torch_spline_conv": "torch-spline-conv",
    "pyg_lib": "git+https://github.com/pyg-team/pyg-lib.git",
}


@pytest.mark.parametrize("module", BROKEN)
def test_operators_without_stand_ins(fake, python, module):
    """They are named where they are installed alone."""
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, module, "1.6.3", "raise OSError('_version_cpu.so: undefined symbol')")
    (finding,) = (each for each in check_operator_packages(fake.machine()) if "stand in" not in each.found)
    assert finding.name == module
    assert finding.status is Status.PROBLEM
    assert finding.found.endswith(
        f"cannot be imported in the environment of {python}: OSError: _version_cpu.so: undefined symbol"
    )
    assert finding.advice == "Remove it if no model of yours needs it, or build it for the torch that is there:"
    assert finding.commands == (
        f"{python} -m pip uninstall {module.replace('_', '-')}",
        f"{python} -m pip install --force-reinstall --no-deps --no-build-isolation {BROKEN[module]}",
    )


def test_operators_that_a_variable_breaks(fake, python):
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "torch_cluster", "1.6.3", "import scipy")
    (fake.folder / "scipy.py").write_text("raise ImportError('for another Python')")
    add_package(python, "scipy", "1.10.0")
    fake.environment["PYTHONPATH"] = str(fake.folder)
    finding = check_operator_packages(fake.machine())[-1]
    assert f"while PYTHONPATH names '{fake.folder}': ImportError: for another Python" in finding.found
    assert finding.commands == ("unset PYTHONPATH",)


def test_no_kimpy(fake, python):
    add_package(python, "ase", "3.26.0")
    finding = only(check_ase_and_kimpy(fake.machine()))
    assert finding.status is Status.SKIPPED
    assert finding.found.startswith(f"kimpy not installed in the environment of {python}")
    assert finding.commands == (f"{python} -m pip install ase kimpy",)


def test_environment_without_pip(fake, python):
    """As uv makes them."""
    shutil.rmtree(python.parents[1])
    make_environment(python.parents[1])
    torch, _ = check_torch_and_numpy(fake.machine())
    assert torch.commands == (f"{python} -m ensurepip", f"{python} -m pip install 'torch>=2.4'")


def answering(path, **changes):
    """A Python that answers so."""
    facts = {"version": "3.11.2", "include": "/usr/include", "packages": {}, "pip": True, "ensurepip": True}
    return script(path, f"echo {shlex.quote(json.dumps(facts | {'managed': True} | changes))}")


IN_ITS_STEAD = (
    "~/kim-torchml-3.11/bin/python -m pip install './kim-torchml[verify]'",
    "~/kim-torchml-3.11/bin/kim-torchml doctor",
)


@pytest.mark.parametrize("ensurepip", [True, False])
def test_python_that_pip_may_not_change(fake, monkeypatch, ensurepip):
    """As Debian's own: its packages are the system's."""
    debian = answering(fake.folder / "python3", ensurepip=ensurepip)
    monkeypatch.setattr(sys, "executable", str(debian))
    before = () if ensurepip else ("sudo apt-get install python3.11-venv   # Debian, Ubuntu",)
    torch, numpy = check_torch_and_numpy(fake.machine())
    ase = only(check_ase_and_kimpy(fake.machine()))
    for finding in (torch, numpy, ase):
        assert "pip may not change it: its packages are the system's. Make an environment" in finding.advice
        assert finding.commands == (*before, f"{debian} -m venv ~/kim-torchml-3.11", *IN_ITS_STEAD)


def test_driver_for_a_python_that_pip_may_not_change(fake, python):
    """Then the doctor runs in an environment that can be used in its stead."""
    debian = answering(fake.folder / "usr" / "bin" / "python3")
    fake.add_kim_api(model_drivers=fake.add_driver(python_executable=str(debian)))
    finding = check_torch_and_numpy(fake.machine())[2]
    assert finding.found == f"torch is not installed in the environment of {debian}"
    assert "Install the driver for this environment" in finding.advice
    install = "kim-api-collections-management install --force user ./kim-torchml"
    assert finding.commands == (f"KIM_TORCHML_PYTHON={python} {install}",)


def test_variable_that_names_a_python_that_pip_may_not_change(fake, python):
    """A new environment would not help: the variable would still name the old one."""
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "numpy", "2.3.0")
    debian = answering(fake.folder / "usr" / "bin" / "python3")
    fake.environment["KIM_TORCHML_PYTHON"] = str(debian)
    this, torch, numpy = check_torch_and_numpy(fake.machine())
    assert this.status is Status.OK
    assert torch.found == f"torch is not installed in the environment of {debian}"
    for finding in (torch, numpy):
        assert finding.advice == "pip may not change it. Do without it: KIM_TORCHML_PYTHON alone names it."
        assert finding.commands == ("unset KIM_TORCHML_PYTHON",)
    assert fake.machine().python_to_install_for == str(python)
    # What is printed mends it.
    del fake.environment["KIM_TORCHML_PYTHON"]
    assert [finding.status for finding in check_torch_and_numpy(fake.machine())] == [Status.OK]


def test_what_draws_the_report_of_verify(fake, python):
    assert check_report_packages(fake.machine()) == []
    add_package(python, "jinja2", "3.1.0")
    add_package(python, "matplotlib", "3.9.0", "raise ImportError('numpy.core.multiarray failed to import')")
    finding = only(check_report_packages(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "multiarray failed to import; `kim-torchml verify --html` needs it" in finding.found
    assert finding.commands == (f"{python} -m pip install --force-reinstall --no-deps matplotlib",)


def test_kimpy_built_for_another_kim_api(fake, python):
    add_package(python, "ase", "3.26.0")
    add_package(python, "kimpy", "2.1.0", "raise ImportError('libkim-api.so.2: cannot open shared object file')")
    finding = only(check_ase_and_kimpy(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "kimpy 2.1.0 cannot be imported: ImportError: libkim-api.so.2" in finding.found
    assert "Build it again, for the KIM-API that is there" in finding.advice


def test_python_variable(fake, python):
    variable = "KIM_TORCHML_PYTHON"
    assert check_python_variable(fake.machine()) == []
    fake.environment[variable] = str(python)
    assert only(check_python_variable(fake.machine())).status is Status.OK
    fake.add_kim_api(model_drivers=fake.add_driver(python_version="3.9"))
    fake.environment[variable] = str(python)
    other = only(check_python_variable(fake.machine()))
    fake.environment[variable] = "/nonexistent/python3"
    gone = only(check_python_variable(fake.machine()))
    fake.environment[variable] = str(script(fake.bin / "python3", "exit 9"))
    broken = only(check_python_variable(fake.machine()))
    for finding, message in (
        (other, "the driver TorchMLModelDriver was built for Python 3.9"),
        (gone, "'/nonexistent/python3' cannot be run"),
        (broken, "does not run: it ended with exit code 9"),
    ):
        assert finding.status is Status.PROBLEM
        assert message in finding.found
        assert finding.commands == ("unset KIM_TORCHML_PYTHON",)


def test_python_home(fake):
    assert check_python_home(fake.machine()) == []
    fake.environment["PYTHONHOME"] = "/usr"
    finding = only(check_python_home(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.commands == ("unset PYTHONHOME",)
    # The checks themselves go on.
    assert check_torch_and_numpy(fake.machine())[0].status is Status.OK


def test_threads(fake):
    fake.environment |= {"OMP_NUM_THREADS": "4,2", "KIM_TORCHML_THREADS": "2"}
    assert [finding.status for finding in check_threads(fake.machine())] == [Status.OK] * 2
    fake.environment |= {"OMP_NUM_THREADS": "many", "KIM_TORCHML_THREADS": "0"}
    for finding, name, text in zip(
        check_threads(fake.machine()), ("OMP_NUM_THREADS", "KIM_TORCHML_THREADS"), ("many", "0"), strict=True
    ):
        assert finding.status is Status.PROBLEM
        assert finding.name == name
        assert finding.found == f"it must be a whole number, 1 or more, got '{text}'"
    del fake.environment["OMP_NUM_THREADS"], fake.environment["KIM_TORCHML_THREADS"]
    finding = only(check_threads(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.commands == ("export OMP_NUM_THREADS=1",)


def test_dump_folder(fake):
    assert check_dump_folder(fake.machine()) == []
    fake.environment["KIM_TORCHML_DUMP"] = str(fake.folder / "not" / "yet")
    assert only(check_dump_folder(fake.machine())).status is Status.OK
    assert not (fake.folder / "not").exists()
    (fake.folder / "file").touch()
    fake.environment["KIM_TORCHML_DUMP"] = str(fake.folder / "file" / "below")
    finding = only(check_dump_folder(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert f"'{fake.folder}/file' is not a folder" in finding.found


@pytest.mark.parametrize("exists", [Path.exists, lambda path: os.access(path, os.F_OK)], ids=["own", "3.14"])
def test_dump_folder_that_cannot_be_followed(fake, exists, monkeypatch):
    """From Python 3.14 on, Path.exists raises no error."""
    monkeypatch.setattr(Path, "exists", exists)
    fake.environment["KIM_TORCHML_DUMP"] = "x" * 300
    finding = only(check_dump_folder(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found.endswith("': File name too long")
    (fake.folder / "link").symlink_to("link")
    fake.environment["KIM_TORCHML_DUMP"] = str(fake.folder / "link")
    finding = only(check_dump_folder(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found.endswith("': Too many levels of symbolic links")


def test_nothing_here_imports_torch():
    code = "import sys, kim_torchml.tools.cli, kim_torchml.tools.doctor.report; print('torch' in sys.modules)"
    assert run_python(code) == "False\n"
