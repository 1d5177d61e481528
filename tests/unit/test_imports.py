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


def attempt(**variables):
    """Try to import torch and numpy with some environment variables; return what the user is told."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, SOURCE],
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
@pytest.mark.parametrize("code", ["raise ImportError('no _C')", "x = (", "raise AttributeError('gone')"])
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


@pytest.mark.parametrize(
    ("name", "value"), [("TORCH_LOGS", ""), ("TORCH_LOGS", "rubbish"), ("TORCH_LOGS_OUT", "/no/a")]
)
def test_variables_that_break_torch(name, value):
    said = attempt(**{name: value})
    assert said.startswith("torch cannot be imported (")
    assert said.endswith(
        f"; torch itself is there, but these environment variables steer it: {name}='{value}'; unset them"
    )


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


def test_torchscript_is_switched_off(tmp_path):
    from models import PairOfAll, script_bytes
    from opening import parameter_text

    (tmp_path / "kim.param").write_text(parameter_text())
    (tmp_path / "model.pt").write_bytes(script_bytes(PairOfAll))
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCHSCRIPT, SOURCE, tmp_path],
        env={**os.environ, "PYTORCH_JIT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == (
        "the model file model.pt is TorchScript, which is switched off in this process by the environment variable "
        "PYTORCH_JIT=0: unset it\n"
    )
