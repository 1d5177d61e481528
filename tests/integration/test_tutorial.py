# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tutorial: its code is that of the example, and its commands run in the order in which they stand there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from documents import ROOT, blocks
from kim_collection import KimCollection

PAGE = ROOT / "docs" / "tutorial.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "your_own"
MODEL = "My_Potential"


def test_code_is_that_of_the_example() -> None:
    shown = [content for language, content in blocks(TEXT) if language != "bash"]
    files = ["network.py", "train.py", "in.my_potential", "relax.py"]
    assert shown == [(EXAMPLE / name).read_text(encoding="utf-8") for name in files]


@pytest.fixture
def folder(bare_collection: KimCollection, own_folder: Path) -> Iterator[Path]:
    """A folder that looks like the repository's, and has none of its files beside the examples."""
    (own_folder / "examples").symlink_to(ROOT / "examples")
    yield own_folder
    bare_collection.manage("remove", "--force", MODEL)


def test_commands_run_in_their_order(bare_collection: KimCollection, folder: Path) -> None:
    """They print what a reader expects: small errors, checks that pass, and silicon's lattice constant."""
    environment = {**bare_collection.environment, "KIM_TORCHML_QUIET": "1", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    printed = []
    for language, commands in blocks(TEXT):
        if language == "bash":
            run = subprocess.run(
                ["bash", "-e", "-c", commands],
                cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
            )  # fmt: skip
            assert run.returncode == 0, (commands, run.stdout, run.stderr)
            printed.append(run.stdout)
    training, _, _, lammps, ase = printed
    (energy_error,) = re.findall(r"energies are off by (\d+) meV per atom", training)
    (force_error,) = re.findall(r"forces by (\d\.\d+) of", training)
    assert int(energy_error) < 50
    assert float(force_error) < 0.4
    rows = re.findall(r"^ +\d+ +([\d.]+) +(-[\d.]+) +(-[\d.]+) +(\S+) +(\S+)", lammps, re.MULTILINE)
    energies = [float(total) for _, _, total, _, _ in rows]
    assert len(rows) == 6
    pressures = np.array([[float(pxx), float(of_atoms)] for *_, pxx, of_atoms in rows])
    np.testing.assert_allclose(pressures[:, 1], pressures[:, 0], rtol=1e-6)
    assert max(energies) - min(energies) < 0.06
    (constant,) = re.findall(r"lattice constant: (\d\.\d+) Å", ase)
    assert float(constant) == pytest.approx(5.431, abs=0.05)
