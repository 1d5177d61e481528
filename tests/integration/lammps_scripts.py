# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs of LAMMPS that move atoms in many ways: lists of neighbours, boxes, atoms that cross faces, come and go."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from configurations import crystal
from lammps_frames import Script

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
BALANCE = "{settings}run 0\nfix balance all balance 3 1.0 {style}\n" + NVE.format(steps=15)
# All atoms move by 0.2 Å in each step, into what was empty.
ENTER = "velocity all set {velocity} sum no\ntimestep 0.002\nfix nve all nve\nrun 20"
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


def in_lower_half(atoms: Atoms, *directions: bool) -> Atoms:
    """Return the atoms in a box of twice the size along directions that are not periodic, 1 Å below its middle."""
    placed = orthogonal(atoms)
    placed.pbc = directions
    size = np.diag(placed.cell.array) + np.where(directions, 0.0, 3.0)
    placed.positions -= placed.positions.min(axis=0)
    top = placed.positions.max(axis=0)
    placed.positions += np.where(directions, 0.0, size - 1.0 - top)
    placed.cell = np.diag(np.where(directions, size, 2.0 * size))
    return placed


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


def scripts(model: str) -> dict[str, Script]:
    """Return runs of a model by name; one that goes on from a restart comes after the one that writes it."""
    atoms = crystal()
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


def scripts_of_ranks(model: str) -> dict[str, Script]:
    """Return runs in which several ranks have different numbers of atoms, or none."""
    atoms = crystal()
    straight, half = orthogonal(atoms), in_lower_half(atoms, True, True, False)
    corner = in_lower_half(atoms, False, False, False)
    shift, rcb = (
        BALANCE.format(settings=settings, style=style)
        for settings, style in (("", "shift z 10 1.01"), ("comm_style tiled\n", "rcb"))
    )
    made = [
        Script("balance_shift", model, half, shift.replace("9 sum", "0 sum"), is_tilted=False,
               processors="1 1 *"),
        Script("balance_rcb", model, straight, rcb, is_tilted=False),
        Script("empty", model, slab(), NVE.format(steps=5).replace("9 sum", "0 sum"), is_tilted=False,
               processors="1 1 *"),
        Script("enter", model, half, ENTER.format(velocity="0 0 100"), is_tilted=False, processors="1 1 *"),
        Script("enter_from_corner", model, corner, ENTER.format(velocity="100 50 0"), is_tilted=False,
               processors="2 * 1"),
    ]  # fmt: skip
    return {script.name: script for script in made}
