# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker/install.sh torch: which build it takes, from where, and what it says if there is none, all without network."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[2] / "docker" / "install.sh"
VERSION = "2.13.0+cpu"
NAME = f"torch-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with pip and nothing else."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> str:
    """Return the address of an index on the disk, with an empty package torch."""
    folder = tmp_path / "index" / "torch"
    folder.mkdir(parents=True)
    info = f"torch-{VERSION}.dist-info"
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{NAME}">{NAME}</a>')
    return folder.parent.as_uri()


def install(environment: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Install torch with pip's own settings replaced by the given ones."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    settings = {"PIP_CONFIG_FILE": os.devnull, "KIM_TORCHML_ENVIRONMENT": str(environment)} | variables
    return subprocess.run(
        ["bash", INSTALL, "torch"], env=plain | settings, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def torch_installed(environment: Path):
    """Return a function that tells which torch is in the environment; torch is removed after the test."""

    def tell() -> str:
        code = "from importlib.metadata import version; print(version('torch'))"
        done = subprocess.run([environment / "bin/python", "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    yield tell
    subprocess.run([environment / "bin/python", "-m", "pip", "uninstall", "-qy", "torch"], check=True)


def test_build_is_taken_from_the_index_that_is_named(environment: Path, index: str, torch_installed) -> None:
    done = install(
        environment, KIM_TORCHML_TORCH_BUILD="cpu", KIM_TORCHML_TORCH_INDEX=index, PIP_INDEX_URL="file:///no"
    )
    assert done.returncode == 0, done.stderr
    assert f"installing torch=={VERSION} from {index}" in done.stdout
    assert torch_installed() == VERSION


def test_pip_s_own_settings_come_first(environment: Path, index: str, torch_installed) -> None:
    """They may name a mirror, or wheels on the disk."""
    done = install(environment, KIM_TORCHML_TORCH_BUILD="cpu", PIP_INDEX_URL=index)
    assert done.returncode == 0, done.stderr
    assert f"installing torch=={VERSION} (" in done.stdout
    assert torch_installed() == VERSION


@pytest.mark.parametrize("named", ["", "https://127.0.0.1:9/whl"])
def test_build_that_no_index_has(environment: Path, named: str) -> None:
    """The error is one line that says what is needed, and comes before anything is installed."""
    offline = {"PIP_INDEX_URL": "file:///no"} if named else {"PIP_NO_INDEX": "1"}
    done = install(environment, KIM_TORCHML_TORCH_BUILD="cpu", KIM_TORCHML_TORCH_INDEX=named, **offline)
    assert done.returncode == 1
    assert "installing torch" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert f"pip finds no torch=={VERSION} for Python 3." in line
    assert (f"nor in {named}: mend the network" if named else "in its own indexes: name PyTorch's index") in line
    assert "KIM_TORCHML_TORCH_INDEX" in line


def test_any_build_is_left_to_pip(environment: Path) -> None:
    """No other index is asked, and pip's own reason is shown."""
    done = install(environment, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "installing torch==2.13.0 (" in done.stdout
    assert "No matching distribution found for torch==2.13.0" in done.stderr
    assert "pip could not install torch==2.13.0 (its reason is above" in done.stderr
