# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS on several ranks that exchange features: every step of a run is what one rank gives for the same atoms.

As in test_folded_lammps.py, another process of LAMMPS, of one rank, computes the frames once more, staged.
"""

from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import tiny_models as tiny
from kim_collection import KimCollection
from lammps_frames import AGAIN, FIRST, Script
from lammps_host import lines_of_driver, run_lammps
from lammps_scripts import scripts, scripts_of_ranks

pytest.importorskip("mpi4py", reason="ranks exchange features through mpi4py, which is not installed here")

SCRIPTS = scripts(tiny.EXCHANGED) | scripts_of_ranks(tiny.EXCHANGED)
RELAXING = {name for name, script in SCRIPTS.items() if "min_style" in script.commands}
# Runs in which atoms go from one rank to another.
MIGRATING = ("nve_2", "nve_5", "deform", "balance_shift", "balance_rcb", "enter", "enter_from_corner")
# A run that hangs fails the tests.
_PATIENCE = 600


@pytest.fixture(
    scope="module",
    params=[pytest.param(2, id="2 ranks", marks=pytest.mark.every_system), pytest.param(4, id="4 ranks")],
)
def runs(
    request: pytest.FixtureRequest, collection: KimCollection, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CompletedProcess[str], int]:
    """Run all scripts on several ranks, and their frames on one, staged."""
    folder = tmp_path_factory.mktemp("lammps")
    commands = "".join(script.write(folder) for script in SCRIPTS.values())
    done = run_lammps(collection, folder, commands, request.param, _PATIENCE, KIM_TORCHML_EDGES="exchange")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    again = "".join(map(Script.write_again, SCRIPTS.values()))
    one = run_lammps(collection, folder, again, 1, _PATIENCE, KIM_TORCHML_EDGES="staged")
    assert one.returncode == 0, one.stdout[-3000:] + one.stderr
    return folder, done, request.param


def test_first_use_line_says_so(runs: tuple[Path, CompletedProcess[str], int]) -> None:
    lines = lines_of_driver(runs[1].stderr)
    assert lines
    assert all("(Edges, 3 layers, exchanged between ranks), " in line for line in lines)


@pytest.mark.parametrize("name", SCRIPTS)
def test_ranks_give_what_one_rank_gives(runs: tuple[Path, CompletedProcess[str], int], name: str) -> None:
    exchanged, staged = (SCRIPTS[name].read(runs[0], way) for way in (FIRST, AGAIN))
    assert [frame.step for frame in exchanged] == [frame.step for frame in staged]
    largest = max(np.abs(frame.pressure).max() for frame in staged)
    for one, other in zip(exchanged, staged, strict=True):
        at = f"step {one.step}"
        np.testing.assert_array_equal(one.ids, other.ids)
        pressure = largest if name in RELAXING else np.abs(other.pressure).max()
        assert one.energy == pytest.approx(other.energy, rel=1e-12), at
        np.testing.assert_allclose(one.energies, other.energies, rtol=1e-12, err_msg=at)
        np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-10, err_msg=at)
        np.testing.assert_allclose(one.pressure, other.pressure, rtol=0, atol=1e-9 * pressure, err_msg=at)
        virial = np.abs(other.virials).max()
        np.testing.assert_allclose(one.virials, other.virials, rtol=0, atol=1e-9 * virial, err_msg=at)


@pytest.mark.parametrize("name", MIGRATING)
def test_atoms_have_migrated(runs: tuple[Path, CompletedProcess[str], int], name: str) -> None:
    frames = SCRIPTS[name].read(runs[0], FIRST)
    assert any((after.ranks != before.ranks).any() for before, after in pairwise(frames))


@pytest.mark.parametrize("name", ["empty", "enter", "enter_from_corner"])
def test_ranks_have_had_no_atoms(runs: tuple[Path, CompletedProcess[str], int], name: str) -> None:
    """Those above the lower half of the box have none to begin with; in some runs, atoms come near and enter."""
    frames = SCRIPTS[name].read(runs[0], FIRST)
    assert set(frames[0].ranks) < set(range(runs[2]))
    assert (set(frames[-1].ranks) > set(frames[0].ranks)) == (name != "empty")
    if name == "enter":
        # Within the cutoff of an empty rank's box: it has only particles that do not contribute.
        middle = frames[0].box[2].mean()
        assert 0.0 < middle - frames[0].positions[:, 2].max() < tiny.CUTOFF
