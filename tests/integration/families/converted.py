# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that the tests of families convert, and the environments of the families' packages."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

# Set by tests/families.sh: a folder of environments, one for each family.
ENVIRONMENTS = "KIM_TORCHML_FAMILIES"
HERE = Path(__file__).resolve().parent
# s
_PATIENCE = 900.0


@dataclass(frozen=True)
class Converted:
    """A model that is converted.

    Attributes:
        name: its KIM id.
        family: the family's word.
        source: a name that the family knows, or one of a model that make_mace.py makes.
        dtype: its type.
        energy: how close its energies must be to those of the package, eV for each atom.
        force: likewise, eV/Å.
        stress: likewise, eV/Å³.
        is_quick: whether it is converted in CI.
        modal: modality, if there are several.
        head: head, if there are several.
        file_format: "pt2" or "pt".
        fails: checks of `kim-torchml check` that the network itself fails.
        is_for_lammps: whether it is converted from the file that the package has made of its source for LAMMPS.
    """

    name: str
    family: str
    source: str
    dtype: str
    energy: float
    force: float
    stress: float
    is_quick: bool = False
    modal: str | None = None
    head: str | None = None
    file_format: str = "pt2"
    is_for_lammps: bool = False
    fails: tuple[str, ...] = ()

    @property
    def options(self) -> list[str]:
        """What of it is an option of the command and of package_results.py."""
        given = (("--modal", self.modal), ("--head", self.head))
        return [word for option, value in given if value is not None for word in (option, value)]


@dataclass(frozen=True)
class Installed:
    """A model that was converted and installed.

    Attributes:
        model: what it is.
        source: the file or name that it was made of.
        folder: the folder that was written.
        printed: what the command has printed.
        expected: what the package's own calculator gives.
    """

    model: Converted
    source: str
    folder: Path
    printed: str
    expected: dict[str, np.ndarray]


def _sevennet(name: str, source: str, dtype: str = "float32", **more) -> Converted:
    closeness = (2e-6, 2e-5, 2e-6) if dtype == "float32" else (1e-10, 1e-10, 1e-10)
    # The networks of the wheel have features of one parity, so that a mirror image has another energy.
    return Converted(name, "sevennet", source, dtype, *closeness, fails=("mirror",), **more)


def _mace(name: str, source: str, dtype: str = "float32", **more) -> Converted:
    closeness = (5e-6, 5e-5, 5e-6) if dtype == "float32" else (1e-10, 1e-10, 1e-10)
    return Converted(name, "mace", source, dtype, *closeness, **more)


# What make_mace.py makes; the first also as a file for LAMMPS.
MACE_MODELS = ("small", "heads", "density", "plain", "nonlinear", "charges")

MODELS = [
    _sevennet("SevenNet_0", "7net-0", is_quick=True),
    _sevennet("SevenNet_0_Double", "7net-0", "float64"),
    _sevennet("SevenNet_L3i5", "7net-l3i5"),
    _sevennet("SevenNet_MF_0_R2scan", "7net-mf-0", modal="R2SCAN"),
    _mace("Mace_Small", "small", is_quick=True),
    _mace("Mace_Small_Double", "small", "float64"),
    _mace("Mace_Heads", "heads", head="r2scan"),
    _mace("Mace_Density", "density"),
    _mace("Mace_Plain", "plain", "float64"),
    _mace("Mace_Nonlinear", "nonlinear", head="spice"),
    _mace("Mace_Script", "small", file_format="pt"),
    _mace("Mace_For_Lammps", "small", file_format="pt", is_for_lammps=True, is_quick=True),
]
BY_NAME = {model.name: model for model in MODELS}


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
        timeout=_PATIENCE,
        check=False,
    )


def kim_torchml(family: str, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a family's environment, as a user does."""
    return run_in_family(family, "-I", "-m", "kim_torchml", *arguments, folder=folder)


def package_results(model: Converted, source: str | Path, folder: Path) -> dict[str, np.ndarray]:
    """Return what the package's own calculator gives; see package_results.py."""
    output = folder / f"{model.name}.npz"
    done = run_in_family(model.family, HERE / "package_results.py", model.family, source, model.dtype, output,
                         *model.options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(output) as found:
        return dict(found)
