# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that tests run in the environments of the families' packages."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from converted import Converted

# Set by tests/families.sh: a folder of environments, one for each family.
ENVIRONMENTS = "KIM_TORCHML_FAMILIES"
HERE = Path(__file__).resolve().parent
# s
PATIENCE = 900.0
# The command of this environment, which has no package of a family.
COMMAND = "from kim_torchml.tools.cli import main; main()"


@dataclass(frozen=True)
class Installed:
    """A model that was converted and installed.

    Attributes:
        model: what it is.
        folder: the folder that was written.
        printed: what the command has printed.
        expected: what the package's own calculator gives.
    """

    model: Converted
    folder: Path
    printed: str
    expected: dict[str, np.ndarray]


def python_of(family: str) -> Path:
    """Return the Python of a family's environment; skip the test, with the reason, where there is none."""
    folder = Path(os.environ[ENVIRONMENTS])
    python = folder / family / "bin" / "python"
    if not python.exists():
        reason = folder / f"{family}.reason"
        said = reason.read_text().splitlines() if reason.exists() else []
        # Before the error stand the steps of making it.
        pytest.skip(said[-1] if said else f"there is no environment of {family}")
    return python


def run_in_family(family: str, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a family's environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "KIM_", "OMP_"))}
    return subprocess.run(
        [str(python_of(family)), *map(str, arguments)],
        cwd=folder,
        env=kept | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def kim_torchml(family: str, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a family's environment, as a user does."""
    return run_in_family(family, "-I", "-m", "kim_torchml", *arguments, folder=folder)


def package_results(model: Converted, source: str | Path, folder: Path) -> dict[str, np.ndarray]:
    """Return what the package's own calculator gives; see package_results.py."""
    output = folder / f"{model.name}.npz"
    done = run_in_family(model.family, HERE / "package_results.py", model.family, source, model.dtype, output,
                         *model.options, folder=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(output) as found:
        return dict(found)
