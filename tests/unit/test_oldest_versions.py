# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is stated in one place and repeated where that cannot be read: the oldest versions, and the driver's KIM id."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from kim_torchml.process.oldest_versions import OLDEST_KIM_API, OLDEST_PYTHON, OLDEST_TORCH
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME

ROOT = Path(__file__).parents[2]
DESCRIBE = ROOT / "kim_driver_cpp" / "describe_python.py"
VERSIONS = ROOT / "src" / "kim_torchml" / "process" / "oldest_versions.py"

STATEMENTS = [
    (r'requires-python = ">=(\d+\.\d+),', OLDEST_PYTHON, ["pyproject.toml"]),
    (r'python_version = "(\d+\.\d+)"', OLDEST_PYTHON, ["pyproject.toml"]),
    (r'target-version = "py(\d+)"', OLDEST_PYTHON.replace(".", ""), ["pyproject.toml"]),
    (r"Python (\d+\.\d+) to \d", OLDEST_PYTHON, ["docs/install.md"]),
    (r"torch>=(\d+\.\d+)", OLDEST_TORCH, ["pyproject.toml", "docs/install.md"]),
    (r"torch (\d+\.\d+) or newer", OLDEST_TORCH, ["README.md", "docs/install.md"]),
    (r"torch from (\d+\.\d+) on", OLDEST_TORCH, ["docs/install.md"]),
    (r'oldest_torch="(.+)"', OLDEST_TORCH, ["docker/install.sh"]),
    (r"KIM-API (\d+\.\d+) or newer", OLDEST_KIM_API, ["README.md", "docs/install.md"]),
    (r"(?:libkim-api` must print|--version +#) (\d+\.\d+) or newer", OLDEST_KIM_API, ["docs/install.md"]),
    (r"find_package\(KIM-API-ITEMS (\d+\.\d+) ", OLDEST_KIM_API, ["README.md", "examples/*/CMakeLists.txt"]),
    (
        r"find_package\(KIM-API-ITEMS (\d+\.\d+) ",
        OLDEST_KIM_API,
        ["tests/*/*/CMakeLists.txt", "tests/integration/kim_collection.py"],
    ),
    (r'"kim-api-version" "(.+)"', OLDEST_KIM_API, ["examples/*/kimspec.edn"]),
]


def files(pattern):
    found = sorted(ROOT.glob(pattern))
    assert found != []
    return found


@pytest.mark.parametrize(("statement", "version", "patterns"), STATEMENTS)
def test_statements_agree(statement, version, patterns):
    for path in [path for pattern in patterns for path in files(pattern)]:
        found = re.findall(statement, path.read_text(encoding="utf-8"))
        assert found != [], path
        assert set(found) == {version}, path


def test_nothing_else_in_the_package_states_other_versions():
    """Messages and commands that name a version of torch or KIM-API for people."""
    for path in (ROOT / "src").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert set(re.findall(r"torch>=(\d+\.\d+)", source)) <= {OLDEST_TORCH}, path
        assert set(re.findall(r"(\d+\.\d+) or newer", source)) <= {OLDEST_TORCH, OLDEST_KIM_API, OLDEST_PYTHON}, path


@pytest.mark.parametrize(
    ("version", "limit", "older"),
    [("3.9.18", "3.10", True), ("3.10.0", "3.10", False), ("4.0", "3.10", False), ("2.13.0+cu130", "2.4", False)],
)
def test_versions_are_compared_as_numbers(version, limit, older):
    assert runpy.run_path(str(DESCRIBE))["is_older"](version, limit) is older


def test_python_that_is_too_old_is_told_so(tmp_path):
    """Whatever it can do otherwise: the sources are here as they are where the driver is built."""
    for path, change in ((DESCRIBE, ("", "")), (VERSIONS, (f'"{OLDEST_PYTHON}"', '"99.7"'))):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True)
        copy.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    script = tmp_path / DESCRIBE.relative_to(ROOT)
    code = "import runpy, sys; sys.modules['importlib.metadata'] = None; runpy.run_path(sys.argv[1], None, '__main__')"
    done = subprocess.run([sys.executable, "-c", code, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Python {sys.version.split()[0]} is too old: 99.7 or newer is needed.\n"


def test_drivers_id_is_the_same_everywhere():
    cmake = (ROOT / "kim_driver_cpp" / "model_driver.cmake").read_text()
    (name,) = re.findall(r'set\(KIM_TORCHML_DRIVER_NAME "(\w+)"\)', cmake)
    assert name == DEFAULT_DRIVER_NAME
    for path, statement in {
        "docker/install.sh": r"KIM_TORCHML_DRIVER_NAME:-(\w+)\}",
        "docker/check.py": r'DRIVER = "(\w+)"',
        "tests/integration/kim_collection.py": r'DRIVER = "(\w+)"',
        "README.md": r'DRIVER_NAME "(\w+)"',
        **{str(path.relative_to(ROOT)): r'DRIVER_NAME +"(\w+)"' for path in files("examples/*/CMakeLists.txt")},
        **{str(path.relative_to(ROOT)): r'"model-driver" "(\w+)"' for path in files("examples/*/kimspec.edn")},
    }.items():
        assert set(re.findall(statement, (ROOT / path).read_text(encoding="utf-8"))) == {name}, path
