# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS on one and two ranks: all cases in one process, one model after the other."""

import re
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import tiny_models as tiny
from ase import Atoms
from configurations import cluster, crystal, of_atoms
from kim_collection import KimCollection
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, KimpyModel
from lammps_host import Case, CaseResults, first_use_lines, lines_of_driver, run_lammps

pytestmark = pytest.mark.every_system

ANNOUNCEMENT = re.compile(r"\[kim-torchml(?: rank \d)?\] driver \S+, torch \S+, model model\.pt .*, device cpu, .*\n")

# Two ranks divide the long box in the middle, at 30 Å. Each also gets the other's particles within the influence
# distance and a skin of half an Å from there.
HALF = 30.0

DYNAMICS = """\
fix nve all nve
timestep 0.002
run 0
print "$(etotal:%.17g) $(ke:%.17g)" file {name}.start
run 50
print "$(etotal:%.17g) $(ke:%.17g)" file {name}.end"""


def in_long_box(atoms: Atoms, top: float) -> Atoms:
    """Put atoms into a box of 60 Å, with the highest one at `top`."""
    placed = Atoms(atoms.symbols, atoms.positions - atoms.positions.min(axis=0) + 1.0)
    placed.positions[:, 2] += top - placed.positions[:, 2].max()
    placed.cell = [*(placed.positions.max(axis=0) + 1.0)[:2], 2 * HALF]
    return placed


def chain() -> Atoms:
    """Return atoms in a row along the long box, so that each layer of a model reaches almost one cutoff farther."""
    n = 24
    atoms = Atoms(f"Si{n}", np.outer(np.arange(n), [0.0, 0.0, 2 * HALF / n]), cell=[12, 12, 2 * HALF], pbc=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def dynamics(name: str, model: str) -> Case:
    return Case(name, model, crystal(), run=DYNAMICS.format(name=name))


def cases() -> dict[str, Case]:
    small = cluster()
    atom = Atoms("Ge", positions=[[1.0, 2.0, 3.0]], cell=[20, 20, 20], pbc=False)
    # Three layers reach 8.7 Å. With the highest atom at 20 Å the upper rank has no particles, at 29 Å only
    # non-contributing ones.
    of_edges = [
        Case("edges1_crystal", tiny.EDGES_1, crystal()),
        Case("edges3_crystal", tiny.EDGES_3, crystal()),
        Case("edges3_chain", tiny.EDGES_3, chain(), "1 1 *"),
        Case("edges3_upper_rank_empty", tiny.EDGES_3, in_long_box(small, 20.0), "1 1 *"),
        Case("edges3_upper_rank_ghosts", tiny.EDGES_3, in_long_box(small, HALF - 1.0), "1 1 *"),
        Case("edges3_cut_in_two", tiny.EDGES_3, in_long_box(small, HALF + 5.0), "1 1 *"),
        Case("edges3_atom", tiny.EDGES_3, atom, "1 1 *"),
        dynamics("edges3_dynamics", tiny.EDGES_3),
    ]
    made = [
        Case("raw_crystal", tiny.RAW, crystal()),
        Case("graph1_crystal", tiny.GRAPH_1, crystal()),
        Case("graph3_crystal", tiny.GRAPH_3, crystal()),
        Case("descriptor_crystal", tiny.DESCRIPTOR, crystal()),
        Case("descriptor_upper_rank_empty", tiny.DESCRIPTOR, in_long_box(small, 20.0), "1 1 *"),
        Case("descriptor_upper_rank_ghosts", tiny.DESCRIPTOR, in_long_box(small, HALF - 1.0), "1 1 *"),
        Case("descriptor_atom", tiny.DESCRIPTOR, atom, "1 1 *"),
        Case("total_crystal", tiny.RAW_TOTAL, crystal()),
        Case("forces_crystal", tiny.RAW_FORCES, crystal()),
        Case("graph3_chain", tiny.GRAPH_3, chain(), "1 1 *"),
        Case("graph3_upper_rank_empty", tiny.GRAPH_3, in_long_box(small, 20.0), "1 1 *"),
        Case("raw_upper_rank_empty", tiny.RAW, in_long_box(small, 20.0), "1 1 *"),
        Case("graph3_upper_rank_ghosts", tiny.GRAPH_3, in_long_box(small, HALF - 1.0), "1 1 *"),
        Case("raw_upper_rank_ghosts", tiny.RAW, in_long_box(small, HALF - 1.0), "1 1 *"),
        Case("graph3_cut_in_two", tiny.GRAPH_3, in_long_box(small, HALF + 5.0), "1 1 *"),
        Case("graph2_atom", tiny.GRAPH_2, atom, "1 1 *"),
        Case("raw_atom", tiny.RAW, atom, "1 1 *"),
        Case("graph2_run_twice", tiny.GRAPH_2, crystal(), run="run 0\nrun 0"),
        dynamics("graph2_dynamics", tiny.GRAPH_2),
        *of_edges,
    ]
    return {case.name: case for case in made}


CASES = cases()


@pytest.fixture(scope="module")
def runs(
    collection: KimCollection, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[Path, CompletedProcess[str]]]:
    """Run all cases in one process of one rank, then in one of two, and return the results by number of ranks."""
    done = {}
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp("lammps")
        commands = "".join(case.write(folder) for case in CASES.values())
        done[ranks] = folder, run_lammps(collection, folder, commands, ranks)
    return done


def results(runs: dict, name: str, ranks: int) -> CaseResults:
    folder, _ = runs[ranks]
    return CASES[name].read(folder)


@pytest.mark.parametrize("ranks", [1, 2])
def test_ends_well_and_says_one_line_per_process(runs: dict, ranks: int) -> None:
    _, done = runs[ranks]
    assert done.returncode == 0, done.stdout + done.stderr
    lines = first_use_lines(done.stderr)
    assert len(lines) == ranks
    assert all(ANNOUNCEMENT.fullmatch(line) for line in lines), done.stderr
    # Where mpi4py is there, one rank also says of the first model with layers that it does not exchange features.
    others = [line for line in lines_of_driver(done.stderr) if line not in lines]
    assert len(others) <= ranks - 1
    assert all("as they do not exchange features" in line for line in others), done.stderr
    assert "kim-torchml" not in done.stdout


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_give_what_one_gives(runs: dict, name: str) -> None:
    one, two = results(runs, name, 1), results(runs, name, 2)
    assert two.energy == pytest.approx(one.energy, rel=1e-13, abs=1e-10)
    assert two.pressure == pytest.approx(one.pressure, rel=1e-12, abs=1e-7)
    np.testing.assert_allclose(two.forces, one.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(two.atom_energies, one.atom_energies, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].model != tiny.RAW_TOTAL])
@pytest.mark.parametrize("ranks", [1, 2])
def test_atom_energies_sum_to_the_energy(runs: dict, name: str, ranks: int) -> None:
    found = results(runs, name, ranks)
    assert found.sum_of_atoms == pytest.approx(found.energy, rel=1e-12, abs=1e-12)
    assert found.atom_energies.sum() == pytest.approx(found.energy, rel=1e-12, abs=1e-12)


def test_model_with_a_total_alone_gives_no_atom_energies(runs: dict) -> None:
    found = results(runs, "total_crystal", 1)
    assert found.energy == pytest.approx(results(runs, "raw_crystal", 1).energy, rel=1e-13)
    assert found.sum_of_atoms == 0.0


@pytest.mark.parametrize("name", [name for name in CASES if "dynamics" not in name and "total" not in name])
def test_lammps_gives_what_kimpy_gives(runs: dict, name: str) -> None:
    case = CASES[name]
    model = KimpyModel(case.model)
    reach = model.model.get_influence_distance()
    # The forces on images belong to their atoms; a structure that is not periodic has no images.
    particles = of_atoms(case.atoms, reach)
    energy, forces, energies = model.compute(particles, (ENERGY, FORCES, PARTICLE_ENERGIES))
    found = results(runs, name, 1)
    assert found.energy == pytest.approx(energy[0], rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(found.atom_energies, energies[: len(case.atoms)], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.forces.sum(axis=0), forces.sum(axis=0), rtol=0, atol=1e-10)
    if not case.atoms.pbc.any():
        np.testing.assert_allclose(found.forces, forces, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["graph2_dynamics", "edges3_dynamics"])
def test_dynamics_conserve_energy(runs: dict, name: str) -> None:
    """In 50 steps from rest, the energy that becomes kinetic is a thousand times the change that is allowed."""
    folder, _ = runs[1]
    total, kinetic = np.loadtxt(folder / f"{name}.start")
    total_at_end, kinetic_at_end = np.loadtxt(folder / f"{name}.end")
    assert kinetic == 0.0
    assert kinetic_at_end > 0.01
    assert total_at_end == pytest.approx(total, abs=1e-3 * kinetic_at_end)
