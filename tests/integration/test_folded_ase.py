# SPDX-License-Identifier: LGPL-2.1-or-later
"""ASE with folded images: relaxations, paths and dynamics whose every structure is computed staged as well.

A relaxation that begins to differ by rounding may take other steps later, so the structures are those of the folded
run; a second calculator computes the same ones with all images as rows of their own.
"""

import json
from collections.abc import Callable

import numpy as np
import pytest
import tiny_models as tiny
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.kim import KIM
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from configurations import crystal, of_atoms
from kim_collection import KimCollection
from kimpy_host import ENERGY, KimpyModel
from lammps_host import lines_of_driver

pytestmark = [pytest.mark.every_system, pytest.mark.usefixtures("collection")]

Calculators = Callable[..., KIM]

# Energy of a crystal with one atom as many cells outside as the first argument says, which the second may put back.
OUTSIDE = """\
import json, sys
import tiny_models as tiny
from ase.calculators.kim import KIM
from configurations import crystal

atoms = crystal()
calculator = KIM(tiny.EDGES_3)
atoms.positions[5] += float(sys.argv[1]) * atoms.cell.array[0]
if sys.argv[2] == "wrap":
    atoms.wrap()
atoms.calc = calculator
energies = [atoms.get_potential_energy()]
for _ in range(3):
    atoms.rattle(1e-3)
    energies.append(atoms.get_potential_energy())
print(json.dumps(energies))
"""


@pytest.fixture
def calculators(monkeypatch: pytest.MonkeyPatch) -> Calculators:
    """Makes calculators that are folded or staged: the driver reads that when KIM creates the model."""

    def make(way: str, **options) -> KIM:
        monkeypatch.setenv("KIM_TORCHML_EDGES", way)
        return KIM(tiny.EDGES_3, options=options)

    return make


class Watch:
    """Keeps structures with their folded results, and compares them with staged ones."""

    def __init__(self, calculators: Calculators) -> None:
        self.staged = calculators("staged")
        self.kept: list[tuple[Atoms, float, np.ndarray, np.ndarray | None]] = []

    def keep(self, atoms: Atoms) -> None:
        """Keep a structure and what its calculator gives; without a full cell there is no stress."""
        stress = atoms.get_stress() if atoms.cell.rank == 3 else None
        self.kept.append((atoms.copy(), atoms.get_potential_energy(), atoms.get_forces(), stress))

    def compare(self, least: int = 1) -> None:
        """Compare everything, which must be at least so many structures."""
        assert len(self.kept) >= least
        for structure, energy, forces, stress in self.kept:
            structure.calc = self.staged
            assert energy == pytest.approx(structure.get_potential_energy(), rel=1e-12)
            np.testing.assert_allclose(forces, structure.get_forces(), rtol=0, atol=1e-10)
            if stress is not None:
                expected = structure.get_stress()
                np.testing.assert_allclose(stress, expected, rtol=0, atol=1e-9 * np.abs(expected).max() + 1e-16)


@pytest.fixture
def watch(calculators: Calculators) -> Watch:
    return Watch(calculators)


def slab() -> Atoms:
    atoms = crystal()
    atoms.center(vacuum=8.0, axis=2)
    atoms.pbc = (True, True, False)
    return atoms


def wire() -> Atoms:
    atoms = crystal()
    atoms.center(vacuum=8.0, axis=(0, 1))
    atoms.pbc = (False, False, True)
    return atoms


def free() -> Atoms:
    atoms = crystal()
    atoms.pbc = False
    return atoms


def without_a_cell() -> Atoms:
    atoms = free()
    atoms.cell = None
    return atoms


def of_one() -> Atoms:
    """Return one atom in a cell that is smaller than the cutoff in two directions."""
    return Atoms("Ge", positions=[[0.3, 0.2, 0.1]], cell=[[2.5, 0.0, 0.0], [0.4, 2.6, 0.0], [0.1, 0.3, 3.1]], pbc=True)


def of_two() -> Atoms:
    """Return the primitive cell of diamond, strained."""
    atoms = bulk("Si", "diamond", a=5.0)
    atoms.symbols[1] = "Ge"
    atoms.set_cell(
        atoms.cell.array @ np.array([[1.0, 0.0, 0.0], [0.03, 1.02, 0.0], [0.01, 0.02, 0.97]]), scale_atoms=True
    )
    return atoms


STRUCTURES = (crystal, slab, wire, free, without_a_cell, of_one, of_two)


@pytest.mark.parametrize("make", STRUCTURES)
def test_bfgs(make: Callable[[], Atoms], calculators: Calculators, watch: Watch) -> None:
    atoms = make()
    atoms.calc = calculators("folded")
    optimizer = BFGS(atoms, logfile=None)
    optimizer.attach(lambda: watch.keep(atoms))
    optimizer.run(fmax=1e-6, steps=12)
    watch.compare(1 if make is of_one else 10 if len(atoms) > 2 else 2)


@pytest.mark.filterwarnings("ignore:logm result may be inaccurate")
@pytest.mark.parametrize("make", [crystal, of_one, of_two])
def test_relaxation_of_the_cell(make: Callable[[], Atoms], calculators: Calculators, watch: Watch) -> None:
    atoms = make()
    atoms.calc = calculators("folded")
    # The model only repels.
    optimizer = FIRE(FrechetCellFilter(atoms, scalar_pressure=0.05), logfile=None)
    optimizer.attach(lambda: watch.keep(atoms))
    optimizer.run(fmax=1e-6, steps=15)
    watch.compare(10)


def test_neb_with_a_shared_calculator(calculators: Calculators, watch: Watch) -> None:
    """The images of a path are structures of the same atoms elsewhere, which one calculator computes in turns."""
    first, last = crystal(), crystal()
    last.positions[20] += [0.0, 1.5, 0.9]
    last.rattle(0.02, seed=4)
    images = [first, *(first.copy() for _ in range(3)), last]
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate()
    calculator = calculators("folded")
    for image in images:
        image.calc = calculator
    optimizer = FIRE(band, logfile=None)
    optimizer.attach(lambda: [watch.keep(image) for image in images])
    optimizer.run(fmax=1e-6, steps=5)
    watch.compare(25)


@pytest.mark.parametrize("make", [crystal, slab, wire])
def test_dynamics_in_which_atoms_leave_the_cell(
    make: Callable[[], Atoms], calculators: Calculators, watch: Watch
) -> None:
    """ASE leaves atoms outside. They move with their images until lists are made anew, several times in this run."""
    atoms = make()
    atoms.calc = calculators("folded")
    random, drift = np.random.default_rng(1), np.array([0.08, -0.06, 0.04])
    atoms.set_velocities(random.normal(0.0, 0.02, atoms.positions.shape) + drift)
    dynamics = VelocityVerlet(atoms, timestep=3.0 * units.fs)
    start = atoms.positions.copy()
    dynamics.attach(lambda: watch.keep(atoms))
    dynamics.run(60)
    watch.compare(60)
    assert np.abs(atoms.positions - start).max() > 1.5


@pytest.mark.parametrize("make", [crystal, slab, of_one, of_two])
def test_padding_in_another_order(make: Callable[[], Atoms], calculators: Calculators, watch: Watch) -> None:
    """With ASE's own neighbour lists, images come in the order of the pairs that they are in."""
    atoms = make()
    atoms.calc = calculators("folded", ase_neigh=True)
    for _ in range(3):
        watch.keep(atoms)
        atoms.rattle(0.03, rng=np.random.default_rng(3))
    watch.compare(3)


def test_calculators_of_both_ways_in_turns(calculators: Calculators) -> None:
    """What the models share, such as the program, does not depend on which of them was created last."""
    atoms, ways = crystal(), {way: calculators(way) for way in ("folded", "staged", "auto")}
    found = [[calculator.get_potential_energy(atoms) for calculator in ways.values()] for _ in range(2)]
    np.testing.assert_allclose(found, found[0][0], rtol=1e-12)


def energies_of_atom_outside(collection: KimCollection, cells: float, what: str) -> tuple[list[float], list[str]]:
    """Return the energies that OUTSIDE prints, and the driver's lines after that of the first use."""
    done = collection.run_python("-c", OUTSIDE, str(cells), what)
    assert done.returncode == 0, done.stderr
    first_use, *others = lines_of_driver(done.stderr)
    assert "3 layers folded" in first_use
    return json.loads(done.stdout), others


def energy_with_all_images() -> float:
    """Return the energy that atoms have wherever they are, if all of their images are there."""
    model = KimpyModel(tiny.EDGES_3)
    (expected,) = model.compute(of_atoms(crystal(), model.model.get_influence_distance()), (ENERGY,))
    return float(expected[0])


@pytest.mark.parametrize("cells", [-2.0, 4.0])
def test_atoms_far_outside_are_told_once(collection: KimCollection, cells: float) -> None:
    """ASE's padding then lacks images, and the energy is wrong."""
    energies, (warning,) = energies_of_atom_outside(collection, cells, "leave")
    assert warning.startswith("[kim-torchml] warning: the simulator's list of particles lacks the image of particle ")
    assert "energies and forces are wrong: move the atoms into the cell" in warning
    assert "atoms.wrap()" in warning
    assert abs(energies[0] - energy_with_all_images()) > 1e-3


@pytest.mark.parametrize(("cells", "what"), [(1.0, "leave"), (-2.0, "wrap"), (4.0, "wrap")])
def test_no_warning_where_no_image_is_missing(collection: KimCollection, cells: float, what: str) -> None:
    """Put back into the cell, or just outside as it is in dynamics, an atom has the energy it should have."""
    energies, warnings = energies_of_atom_outside(collection, cells, what)
    assert warnings == []
    assert energies[0] == pytest.approx(energy_with_all_images(), rel=1e-12)
