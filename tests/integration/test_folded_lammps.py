# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS with folded images: every step of a run is what the same atoms give where all images are rows of their own.

Two trajectories part from rounding alone, and a minimizer may then take another number of steps. So the commands run
once, folded, and write every step's positions and box with all digits; another process of LAMMPS computes these frames
staged (`rerun`). The positions of both are then the same but for where LAMMPS puts atoms that have left the box.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import tiny_models as tiny
from ase import Atoms
from ase.build import bulk
from configurations import crystal
from kim_collection import KimCollection
from lammps_frames import AGAIN, FIRST, Frame, Script, computed_energies
from lammps_host import lines_of_driver, run_lammps

pytestmark = pytest.mark.every_system

# Atoms that drift cross faces: 0.05 Å a step.
_DRIFT = "velocity all create 900 1 loop geom\nvelocity all set 18 -12 9 sum yes\ntimestep 0.002\n"
NVE = f"{_DRIFT}fix nve all nve\nrun {{steps}}"
NPT = "velocity all create 600 2 loop geom\ntimestep 0.002\nfix npt all npt temp 600 600 0.1 {box} 0 0 0.2\nrun 15"
MINIMIZE = "min_style {style}\nminimize 0 1e-6 15 60"
RELAX = "fix relax all box/relax tri 0.0 vmax 0.02\nmin_style cg\nminimize 0 1e-6 12 60"
# The tilt grows beyond half of the box, which LAMMPS then flips.
DEFORM = f"{_DRIFT}fix nve all nve\nfix deform all deform 2 xy delta 4.0 y scale 1.03 remap x\nrun 23"
DELETE = """\
run 0
group some id 3 17:20 41
delete_atoms group some compress no
run 1
minimize 0 1e-6 3 9
group others id 1 2 60
delete_atoms group others compress yes
run 1"""
DEPOSIT = """\
velocity all create 300 3 loop geom
timestep 0.001
region above block 1 9 1 9 20 26 units box
mass * 28.0
fix nve all nve
fix deposit all deposit 6 1 3 4711 region above near 1.5 vz -60 -60 units box
run 24"""
# Atoms exchange their species in mid-run, in lists that stay as they are.
SWAP = """\
velocity all create 300 3 loop geom
fix nve all nve
fix swap all atom/swap 2 4 4711 9000 ke yes types 1 2
run 10"""
WRITE_RESTART = f"{_DRIFT}fix nve all nve\nrun 5\nwrite_restart {{name}}.restart"
# Nothing integrates: the step after the displacement is there for its frame.
TWICE = "run 0\nrun 0\nrun 0 pre no\ndisplace_atoms all random 0.05 0.05 0.05 5\nrun 1\nrun 0"


def orthogonal(atoms: Atoms) -> Atoms:
    """Return the atoms in a box without tilt."""
    straight = atoms.copy()
    straight.set_cell(np.diag(np.diag(atoms.cell.array)), scale_atoms=True)
    return straight


def periodic_in(atoms: Atoms, *directions: bool) -> Atoms:
    """Return the atoms with vacuum in the directions that are not periodic."""
    placed = orthogonal(atoms)
    placed.pbc = directions
    vacuum = np.where(directions, 0.0, 20.0)
    placed.cell = np.diag(np.diag(placed.cell.array) + 2 * vacuum)
    placed.positions += vacuum
    return placed


def slab() -> Atoms:
    """Return a slab at the bottom of a box that is periodic in two directions."""
    atoms = periodic_in(crystal(), True, True, False)
    atoms.positions[:, 2] -= atoms.positions[:, 2].min() - 1.0
    return atoms


def perfect() -> Atoms:
    """Return a perfect crystal of one species."""
    return bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)


def at_random() -> Atoms:
    """Return a perfect lattice with two species at random."""
    atoms = perfect()
    atoms.symbols[np.random.default_rng(3).permutation(64)[:30]] = "Ge"
    return atoms


def with_a_foreign_atom() -> Atoms:
    """Return a perfect crystal with one atom of another species, deeper than images reach."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 4, 4)
    centre = atoms.cell.array.sum(axis=0) / 2
    atoms.symbols[int(np.linalg.norm(atoms.positions - centre, axis=1).argmin())] = "Ge"
    return atoms


def small_box(rattle: float = 0.1) -> Atoms:
    """Return atoms in a box that is smaller than the cutoff."""
    atoms = Atoms("SiGe", positions=[[0.1, 0.2, 0.3], [1.3, 1.2, 2.7]], cell=np.diag([2.5, 2.6, 4.9]), pbc=True)
    atoms.rattle(rattle, seed=2)
    return atoms


def chain() -> Atoms:
    """Return atoms in a row whose spacing is nearly a translation."""
    atoms = Atoms("Si24", np.outer(np.arange(24), [0.0, 0.0, 2.5]), cell=np.diag([12.0, 12.0, 60.0]), pbc=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def scripts() -> dict[str, Script]:
    """Return the runs by name; one that goes on from a restart comes after the one that writes it."""
    model, atoms = tiny.EDGES_3, crystal()
    straight, tri = orthogonal(atoms), "tri"
    made = [
        Script("nve_2", model, straight, NVE.format(steps=30), every=2, check=False, is_tilted=False),
        Script("nve_5", model, atoms, NVE.format(steps=30), every=5, check=False, skin=1.0),
        Script("nve_20", model, straight, NVE.format(steps=41), every=20, check=False, skin=2.5, is_tilted=False),
        Script("nve_checked", model, atoms, NVE.format(steps=30)),
        Script("npt_aniso", model, straight, NPT.format(box="aniso"), is_tilted=False),
        Script("npt_tri", model, atoms, NPT.format(box=tri)),
        Script("minimize", model, atoms, MINIMIZE.format(style="cg")),
        Script("minimize_fire", model, straight, MINIMIZE.format(style="fire"), is_tilted=False),
        Script("relax_box", model, atoms, RELAX),
        Script("deform", model, atoms, DEFORM, changes_box=2),
        Script("delete", model, straight, DELETE, is_tilted=False),
        Script("deposit", model, slab(), DEPOSIT, is_tilted=False),
        Script("slab", model, slab(), NVE.format(steps=10).replace("9 sum", "0 sum"), is_tilted=False),
        Script("cluster", model, periodic_in(atoms, False, False, False), NVE.format(steps=10), is_tilted=False),
        Script("atom", model, periodic_in(atoms[:1], False, False, False), "run 0", is_tilted=False),
        Script("wire", model, periodic_in(atoms, False, False, True), NVE.format(steps=10), is_tilted=False),
        Script("write_restart", model, atoms, WRITE_RESTART),
        Script("read_restart", model, atoms, "fix nve all nve\nrun 8", restart="write_restart.restart"),
        Script("twice", model, atoms, TWICE),
        Script("small_box", model, small_box(), NVE.format(steps=24), every=2, check=False),
        Script("small_perfect_box", model, small_box(0.0), "run 0", is_tilted=False),
        Script("perfect", model, perfect(), "run 0", is_tilted=False),
        Script("perfect_tilted", model, bulk("Si", "diamond", a=5.431, cubic=True) * (2, 3, 2), "run 0"),
        Script("perfect_moving", model, perfect(), NVE.format(steps=10), is_tilted=False),
        Script("at_random", model, at_random(), MINIMIZE.format(style="cg"), is_tilted=False),
        Script("foreign_atom", model, with_a_foreign_atom(), MINIMIZE.format(style="cg"), is_tilted=False),
        Script("swap", model, atoms, SWAP),
        Script("exclude", model, atoms, NVE.format(steps=5), settings="neigh_modify exclude type 1 2"),
        Script("large_halo", model, atoms, NVE.format(steps=5), settings="comm_modify cutoff 9.5"),
        Script("chain", model, chain(), NVE.format(steps=10), is_tilted=False),
    ]
    return {script.name: script for script in made}


SCRIPTS = scripts()
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
    lines = lines_of_driver(done.stderr)
    assert len(lines) == 2
    assert all("(Edges, 3 layers staged)" in line for line in lines)
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
            "must be auto or staged where several processes share the system, got 'folded' in one of 2 processes; ",
        ),
        (1, "unfolded", "must be auto, staged or folded, got 'unfolded'; correct or unset it"),
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
