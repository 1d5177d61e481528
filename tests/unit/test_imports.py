# SPDX-License-Identifier: LGPL-2.1-or-later
"""What keeps torch or numpy from being imported, and what the user is told to do about it."""

import os
import subprocess
import sys

import pytest
from fresh_python import SOURCE

IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
from kim_torchml.errors import DriverError
from kim_torchml.process.imports import import_needed_packages
sys.path.remove(sys.argv[1])
try:
    import_needed_packages()
    print("imported")
except DriverError as error:
    print(error)
"""


# Other tests of this process, or torch itself, may have set some of these.
STEERING = ("PYTHONPATH", "TORCH", "PYTORCH", "ATEN_")


def attempt(*arguments, code=IMPORT, **variables):
    """Try to import torch and numpy with some environment variables; return what the user is told."""
    done = subprocess.run(
        [sys.executable, "-c", code, SOURCE, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith(STEERING)} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


def test_an_environment_in_order():
    assert attempt() == "imported"


@pytest.mark.parametrize("package", ["torch", "numpy", "typing_extensions"])
@pytest.mark.parametrize(
    "code", ["raise ImportError('no _C')", "x = (", "raise AttributeError('gone')", "raise SystemExit(3)", ""]
)
def test_a_folder_of_another_python(package, code, tmp_path):
    """Modules of clusters put such folders on PYTHONPATH; what breaks may be what torch itself imports."""
    folder = tmp_path / "lib" / "python3.6" / "site-packages"
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)
    said = attempt(PYTHONPATH=f"/elsewhere:{folder}")
    assert "cannot be imported (" in said
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert said.endswith(
        f"; the module that failed came from {folder}, which the environment variable PYTHONPATH names and which "
        f"belongs to Python 3.6, but this is Python {this}: unset PYTHONPATH"
    )
    assert "install it" not in said


def test_a_folder_that_does_not_tell_its_python(tmp_path):
    (tmp_path / "torch.py").write_text("import torch._C")
    said = attempt(PYTHONPATH=str(tmp_path))
    assert said.startswith("torch cannot be imported (")
    assert f"came from {tmp_path}, which the environment variable PYTHONPATH names: unset PYTHONPATH if " in said


def test_a_long_reason_is_shortened(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('first line\\n' + 'x' * 5000 + ' the end')")
    said = attempt(PYTHONPATH=str(tmp_path))
    assert len(said) < 900
    assert "first line" in said
    assert "the end" not in said


MEND = "torch is installed there: reinstall it (or mend what the reason names), or name the python of an environment"


@pytest.mark.parametrize(
    ("name", "value"), [("TORCH_LOGS", ""), ("TORCH_LOGS", "rubbish"), ("TORCH_LOGS_OUT", "/no/a"), ("PYTORCH_JIT", "")]
)
def test_variables_that_break_torch(name, value):
    said = attempt(**{name: value}, TORCH_HOME="/data/hub")
    assert said.startswith("torch cannot be imported (")
    assert (
        f"; the cause may be an environment variable ({name}='{value}'): unset it; if that does not help, {MEND}"
        in said
    )
    assert "TORCH_HOME" not in said


# What comes before every installed package without PYTHONPATH, which would be blamed.
BEFORE = "import sys\nsys.path.insert(0, sys.argv[2])\n"
HARMLESS = {"TORCH_HOME": "/data/hub", "TORCH_CUDA_ARCH_LIST": "8.0;9.0", "PYTORCH_VERSION": "2.9.0"}


def attempt_with(folder, **variables):
    """Try to import the torch and numpy of a folder."""
    return attempt(folder, code=BEFORE + IMPORT, **variables)


@pytest.mark.parametrize("variables", [{}, HARMLESS], ids=["none", "harmless ones"])
def test_a_torch_that_is_broken_for_another_reason(variables, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
    said = attempt_with(tmp_path, **variables)
    assert said.startswith("torch cannot be imported (libcudart.so.12: cannot open shared object file) in ")
    assert f"; {MEND} that has it in KIM_TORCHML_PYTHON" in said
    assert "variable" not in said
    assert "unset" not in said
    assert "install it there" not in said


def test_a_torch_without_what_it_imports(tmp_path):
    (tmp_path / "torch.py").write_text("import no_such_package")
    assert f"(No module named 'no_such_package') in the Python environment of this process ({sys.prefix}); {MEND}" in (
        attempt_with(tmp_path)
    )


def test_a_numpy_that_is_broken(tmp_path):
    """Variables of torch have nothing to do with it."""
    (tmp_path / "torch.py").write_text("Tensor = None")
    (tmp_path / "numpy.py").write_text("raise ImportError('_multiarray_umath')")
    said = attempt_with(tmp_path, TORCH_LOGS="dynamo")
    assert f"; {MEND.replace('torch', 'numpy')}" in said
    assert "TORCH_LOGS" not in said


NO_TORCHSCRIPT = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
from kim_torchml import driver
from kim_torchml.errors import DriverError
try:
    driver.open_model(sys.argv[2], ["kim.param", "model.pt"])
except DriverError as error:
    print(error)
"""


def open_without_torchscript(folder, before="", **variables):
    """Open a model in a process whose TorchScript is off; return what the user is told."""
    from models import PairOfAll, script_bytes
    from opening import parameter_text

    (folder / "kim.param").write_text(parameter_text())
    (folder / "model.pt").write_bytes(script_bytes(PairOfAll))
    done = subprocess.run(
        [sys.executable, "-c", before + NO_TORCHSCRIPT, SOURCE, folder],
        env={name: value for name, value in os.environ.items() if name != "PYTORCH_JIT"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("value", ["0", "False"])
def test_torchscript_is_switched_off(value, tmp_path):
    assert open_without_torchscript(tmp_path, PYTORCH_JIT=value) == (
        "the model file model.pt is TorchScript, which is switched off in this process by the environment variable "
        f"PYTORCH_JIT={value}: unset it\n"
    )


@pytest.mark.parametrize("variables", [{}, {"PYTORCH_JIT": "1"}], ids=["unset", "on"])
def test_a_host_has_switched_torchscript_off(variables, tmp_path):
    assert open_without_torchscript(tmp_path, "import torch\ntorch.jit._state.disable()\n", **variables) == (
        "the model file model.pt is TorchScript, which is switched off in this process by code of the simulator: let "
        "it do without torch.jit._state.disable() or PYTORCH_JIT=0\n"
    )
