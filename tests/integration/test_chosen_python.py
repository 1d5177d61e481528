# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which Python the driver starts in a host without one, and what it says of one that will not do."""

import shutil
import sys
import venv
from pathlib import Path

import pytest
from shim_parts import ShimParts

pytestmark = pytest.mark.every_system

# No Python's version, so that any environment here is of another one than the driver was built for.
OTHER = "3.7"
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def of_this_version(tmp_path_factory: pytest.TempPathFactory) -> ShimParts:
    return ShimParts.build(tmp_path_factory.mktemp("of_this"), THIS)


@pytest.fixture(scope="module")
def of_other_version(tmp_path_factory: pytest.TempPathFactory) -> ShimParts:
    return ShimParts.build(tmp_path_factory.mktemp("of_other"), OTHER)


def make_environment(python: Path) -> None:
    """Make the environment of a python anew, of this version."""
    folder = python.parents[1]
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True, with_pip=False)


def chosen(parts: ShimParts, **variables: str) -> str:
    done = parts.run("print(held.choose().decode())", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("variables", [{}, {"KIM_TORCHML_PYTHON": ""}], ids=["unset", "empty"])
def test_the_one_that_the_driver_was_built_for(of_this_version: ShimParts, variables: dict[str, str]) -> None:
    make_environment(of_this_version.python)
    assert chosen(of_this_version, **variables) == str(of_this_version.python)


def test_the_one_that_is_named(of_this_version: ShimParts, own_folder: Path) -> None:
    named = own_folder / "named" / "bin" / "python3"
    make_environment(named)
    assert chosen(of_this_version, KIM_TORCHML_PYTHON=str(named)) == str(named)


@pytest.mark.parametrize("variables", [{}, {"KIM_TORCHML_PYTHON": ""}], ids=["unset", "empty"])
def test_its_environment_is_gone(of_this_version: ShimParts, variables: dict[str, str]) -> None:
    make_environment(of_this_version.python)
    of_this_version.python.unlink()
    assert chosen(of_this_version, **variables) == (
        f"error: the Python environment that the driver was built for is gone: '{of_this_version.python}' cannot be "
        f"run; install the driver again with --force, or name another environment's python ({THIS}, with torch) in "
        "KIM_TORCHML_PYTHON"
    )


@pytest.mark.parametrize(
    ("value", "shown"), [("/nonexistent/python3", "/nonexistent/python3"), ("/tmp", "/tmp"), ("py\nthon", "py?thon")]
)
def test_what_is_named_cannot_be_run(of_this_version: ShimParts, value: str, shown: str) -> None:
    """The driver's own environment may well be there. A folder can be executed, in a way, too."""
    assert chosen(of_this_version, KIM_TORCHML_PYTHON=value) == (
        f"error: KIM_TORCHML_PYTHON must name a Python that can be run, got '{shown}'; name the python of "
        f"an environment ({THIS}, with torch) by its full path, or unset the variable: the driver was built for "
        f"'{of_this_version.python}'"
    )


@pytest.mark.parametrize("variables", [{}, {"KIM_TORCHML_PYTHON": ""}], ids=["unset", "empty"])
def test_its_environment_was_made_anew_with_another_version(
    of_other_version: ShimParts, variables: dict[str, str]
) -> None:
    make_environment(of_other_version.python)
    assert chosen(of_other_version, **variables) == (
        f"error: the Python environment that the driver was built for must be of Python {OTHER}, got "
        f"'{of_other_version.python}', which has become Python {THIS}; install the driver again with --force for this "
        f"one, or name a Python {OTHER} with torch in KIM_TORCHML_PYTHON"
    )


def test_what_is_named_has_another_version(of_other_version: ShimParts, own_folder: Path) -> None:
    named = own_folder / "named" / "bin" / "python3"
    make_environment(named)
    assert chosen(of_other_version, KIM_TORCHML_PYTHON=str(named)) == (
        f"error: KIM_TORCHML_PYTHON must name a Python {OTHER}, for which the driver was built, got '{named}', which "
        f"is Python {THIS}; name another, or install the driver again with --force for this one"
    )
