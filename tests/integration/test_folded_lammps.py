# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS with folded images: every step of a run is what the same atoms give where all images are rows of their own.

Two trajectories part from rounding alone, and a minimizer may then take another number of steps. So the commands run
once, folded, and write every step's positions and box with all digits; another process of LAMMPS computes these frames
staged (`rerun`). The positions of both are then the same but for where LAMMPS puts atoms that have left the box.
"""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import tiny_models as tiny
from configurations import crystal
from kim_collection import KimCollection
from lammps_frames import AGAIN, FIRST, Frame, Script, computed_energies
from lammps_host import first_use_lines, lines_of_driver, run_lammps
from lammps_scripts import scripts

pytestmark = pytest.mark.every_system

SCRIPTS = scripts(tiny.EDGES_3)
RELAXING = {name for name, script in SCRIPTS.items() if "min_style" in script.commands}
# Runs in which atoms cross faces.
CROSSING = ("nve_2", "nve_5", "nve_20", "nve_checked", "deform", "small_box")


@pytest.fixture(scope="module")
def runs(
    collection: KimCollection, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, CompletedProcess[str]]]:
    """Run all scripts in one process of LAMMPS, folded, and their frames in another, staged."""
    folder, done = tmp_path_factory.mktemp("lammps"), {}
    for way, write in ("folded", lambda script: script.write(folder)), ("staged", Script.write_again):
        commands = "".join(map(write, SCRIPTS.values()))
        done[way] = run_lammps(collection, folder, commands, KIM_TORCHML_EDGES=way)
        assert done[way].returncode == 0, done[way].stdout[-3000:] + done[way].stderr
    return folder, done


@pytest.fixture
def folder(runs: tuple[Path, dict[str, CompletedProcess[str]]]) -> Path:
    """Where the runs have written their frames."""
    return runs[0]


@pytest.mark.parametrize("way", ["folded", "staged"])
def test_first_use_line_says_which(runs: tuple[Path, dict[str, CompletedProcess[str]]], way: str) -> None:
    """There is no other line: in LAMMPS, no atom is so far outside the box that images are missing."""
    (line,) = lines_of_driver(runs[1][way].stderr)
    assert f"model model.pt (Edges, 3 layers {way}), " in line


def frames_of(folder: Path, name: str) -> tuple[list[Frame], list[Frame]]:
    """Return the frames of the folded run and the staged ones of the same atoms."""
    folded, staged = (SCRIPTS[name].read(folder, way) for way in (FIRST, AGAIN))
    assert [frame.step for frame in folded] == [frame.step for frame in staged]
    for one, other in zip(folded, staged, strict=True):
        # LAMMPS writes a tilted box by its bounds, from which it is computed again.
        np.testing.assert_allclose(one.box, other.box, rtol=1e-14, atol=1e-14)
        np.testing.assert_array_equal(one.ids, other.ids)
    return folded, staged


@pytest.mark.parametrize("name", SCRIPTS)
def test_folded_is_staged(folder: Path, name: str) -> None:
    folded, staged = frames_of(folder, name)
    largest = max(np.abs(frame.pressure).max() for frame in staged)
    for one, other in zip(folded, staged, strict=True):
        at = f"step {one.step}"
        # A relaxation ends where large parts of the pressure cancel: it is measured by what it began with.
        pressure = largest if name in RELAXING else np.abs(other.pressure).max()
        virial = np.abs(other.virials).max()
        assert one.energy == pytest.approx(other.energy, rel=1e-12), at
        np.testing.assert_allclose(one.energies, other.energies, rtol=1e-12, err_msg=at)
        np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-10, err_msg=at)
        np.testing.assert_allclose(one.pressure, other.pressure, rtol=0, atol=1e-9 * pressure, err_msg=at)
        np.testing.assert_allclose(one.virials, other.virials, rtol=0, atol=1e-9 * virial, err_msg=at)


@pytest.mark.parametrize("name", CROSSING)
def test_atoms_have_crossed_faces(folder: Path, name: str) -> None:
    """A wrapped coordinate jumps where LAMMPS has put an atom back into the box."""
    frames = SCRIPTS[name].read(folder, FIRST)
    jumps = [np.abs(after.positions - before.positions).max() for before, after in pairwise(frames)]
    assert max(jumps) > 2.0


def test_run_0_again_gives_the_same(folder: Path) -> None:
    energies = computed_energies((folder / f"twice.{FIRST}.log").read_text())
    # LAMMPS may sort the atoms meanwhile.
    assert energies[:3] == pytest.approx([energies[0]] * 3, rel=1e-14)
    assert energies[3:] == pytest.approx([energies[3]] * 3, rel=1e-14)
    assert energies[0] != pytest.approx(energies[3], rel=1e-5)


@pytest.mark.parametrize("name", ["delete", "deposit"])
def test_the_number_of_atoms_changes(folder: Path, name: str) -> None:
    numbers = {len(frame.ids) for frame in SCRIPTS[name].read(folder, FIRST)}
    assert len(numbers) > 2


@pytest.mark.parametrize("name", ["npt_aniso", "npt_tri", "relax_box", "deform"])
def test_the_box_changes(folder: Path, name: str) -> None:
    frames = SCRIPTS[name].read(folder, FIRST)
    assert len({frame.box.tobytes() for frame in frames}) > 5


def test_restart_goes_on(folder: Path) -> None:
    """The frame that a run goes on from is the one that was written."""
    before, after = SCRIPTS["write_restart"].read(folder, FIRST)[-1], SCRIPTS["read_restart"].read(folder, FIRST)[0]
    assert before.step == after.step
    assert after.energy == pytest.approx(before.energy, rel=1e-12)
    np.testing.assert_allclose(after.forces, before.forces, rtol=0, atol=1e-10)


def test_two_ranks_are_staged(folder: Path, collection: KimCollection, own_folder: Path) -> None:
    """A rank sees a part of the system only, so by default it has images as rows of their own."""
    frames = SCRIPTS["minimize"].read(folder, FIRST)
    script = replace(SCRIPTS["minimize"], name="ranks", commands="run 0")
    done = run_lammps(collection, own_folder, script.write(own_folder), ranks=2)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = first_use_lines(done.stderr)
    assert len(lines) == 2
    assert all("(Edges, 3 layers staged)" in line for line in lines)
    (note,) = set(lines_of_driver(done.stderr)) - set(lines)
    assert re.fullmatch(
        r"\[kim-torchml rank 0\] note: each rank computes the particles of others around its own again, [\d.]+ Å deep, "
        r"as they do not exchange features: the model never calls torch\.ops\.kim_torchml\.exchange; .*\n",
        note,
    )
    (frame,) = script.read(own_folder, FIRST)
    assert frame.energy == pytest.approx(frames[0].energy, rel=1e-12)
    np.testing.assert_allclose(frame.forces, frames[0].forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(frame.pressure, frames[0].pressure, rtol=1e-9)


@pytest.mark.parametrize(
    ("ranks", "word", "message"),
    [
        (
            2,
            "folded",
            "must be auto, exchange or staged where several processes share the system, got 'folded' in one of 2 "
            "processes; ",
        ),
        (1, "unfolded", "must be auto, staged, folded or exchange, got 'unfolded'; correct or unset it"),
    ],
)
def test_what_cannot_be_is_an_error_when_the_model_is_created(
    collection: KimCollection, own_folder: Path, ranks: int, word: str, message: str
) -> None:
    commands = SCRIPTS["minimize"].write(own_folder)
    done = run_lammps(collection, own_folder, commands, ranks, KIM_TORCHML_EDGES=word)
    assert done.returncode != 0
    lines = lines_of_driver(done.stderr)
    assert lines
    assert all(f"error: the environment variable KIM_TORCHML_EDGES {message}" in line for line in lines)
    # It fails before there are atoms.
    assert "reading atoms" not in done.stdout


def test_one_layer_has_nothing_to_fold(collection: KimCollection, own_folder: Path) -> None:
    script = Script("plain", tiny.EDGES_1, crystal(), "run 0")
    results = {}
    for ranks, word in ((1, "folded"), (1, "staged"), (2, "folded")):
        done = run_lammps(collection, own_folder, script.write(own_folder), ranks, KIM_TORCHML_EDGES=word)
        assert done.returncode == 0, done.stdout + done.stderr
        assert all("model model.pt (Edges), " in line for line in lines_of_driver(done.stderr))
        (results[ranks, word],) = script.read(own_folder, FIRST)
    assert results[1, "folded"].energy == results[1, "staged"].energy
    assert results[2, "folded"].energy == pytest.approx(results[1, "staged"].energy, rel=1e-12)
