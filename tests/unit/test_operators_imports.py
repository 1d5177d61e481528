# SPDX-License-Identifier: LGPL-2.1-or-later
"""Packages whose operators have no replacement are imported where a file names them, and asked for where they are not.

Fake packages stand for the real ones. Registered operators are global, so these tests run in processes of their own.
"""

import textwrap

import pytest
from fresh_python import run_python

from kim_torchml.engines.torchscript.operators import registry
from kim_torchml.process.operator_packages import OPERATOR_PACKAGES

# Namespace of the operators: module that registers them, and what installs it.
PACKAGES = {
    "torch_cluster": ("torch_cluster", "torch-cluster"),
    "torch_spline_conv": ("torch_spline_conv", "torch-spline-conv"),
    "pyg": ("pyg_lib", "git+https://github.com/pyg-team/pyg-lib.git"),
}
NAMESPACES = pytest.mark.parametrize("namespace", PACKAGES)

REGISTERING = """
import torch
library = torch.library.Library("NAMESPACE", "DEF")
library.define("double(Tensor x) -> Tensor", alias_analysis="CONSERVATIVE")
library.impl("double", lambda x: 2 * x, "CompositeImplicitAutograd")
"""
# Opens a file that names the operator, in a process that has not imported the package.
OPENING = """
import sys
import torch
sys.path.append(sys.argv[1])
from archives import CALLING, with_line
from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.errors import DriverError

content = with_line("x = ops.NAMESPACE.double(coordinates)\\n    return torch.sum(x)", CALLING)
try:
    program = TorchScriptProgram(content, "x.pt", torch.device("cpu"))
    print(program._forward([torch.ones(2, 3, dtype=torch.float64)] * 5).item())
except DriverError as error:
    print(error)
print("MODULE" in sys.modules)
"""


@pytest.fixture
def open_file(tmp_path, request):
    """Return a function that opens a file naming an operator where a package is what `text` says, or is missing."""

    def function(namespace, text=None):
        module = PACKAGES[namespace][0]
        if text is None:
            (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
        else:
            (tmp_path / module).mkdir()
            (tmp_path / module / "__init__.py").write_text(textwrap.dedent(text).replace("NAMESPACE", namespace))
        code = OPENING.replace("NAMESPACE", namespace).replace("MODULE", module)
        return run_python(code, [tmp_path], [request.path.parent]).splitlines()

    return function


def test_the_doctor_knows_which_packages_have_stand_ins():
    known = {namespace for namespace, package in OPERATOR_PACKAGES.items() if package.has_stand_ins}
    assert known == set(registry._STAND_INS)
    assert known | set(PACKAGES) == set(OPERATOR_PACKAGES)


@NAMESPACES
def test_the_package_is_imported(namespace, open_file):
    assert open_file(namespace, REGISTERING) == ["12.0", "True"]


@NAMESPACES
def test_the_package_is_missing(namespace, open_file):
    module, requirement = PACKAGES[namespace]
    assert open_file(namespace)[0] == (
        f"the model names {namespace}::double, for which kim-torchml has no replacement, and the package {module} is "
        f"not installed; install it: python -m pip install --no-build-isolation {requirement}"
    )


@pytest.mark.parametrize("namespace", ["pyg"])
def test_the_package_is_broken(namespace, open_file):
    module, requirement = PACKAGES[namespace]
    text = "raise OSError('undefined symbol: ' + 'x' * 7000)"
    line = open_file(namespace, text)[0]
    assert line.startswith(
        f"the model names operators of {module}, which is installed but cannot be imported (OSError: undefined symbol:"
    )
    assert f"(python -m pip install --no-build-isolation {requirement})" in line
    assert len(line) < 600
    assert "replace" not in line


@pytest.mark.parametrize("namespace", ["pyg"])
def test_the_package_lacks_the_operator(namespace, open_file):
    module = PACKAGES[namespace][0]
    line = open_file(namespace, REGISTERING.replace("double", "triple"))[0]
    assert line.startswith(f"the installed {module} (")
    assert line.endswith(
        f"must provide {namespace}::double, which the model names, but does not; install another version of {module}"
    )
