# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virials through KIM, compared with KIM's own model, derivatives by a strain, and stresses of LAMMPS and ASE."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from ase import Atoms, units
from ase.calculators.kim import KIM
from configurations import Configuration, cluster, crystal, mixed, of_atoms
from example_models import DESCRIPTOR, EDGES, EXAMPLES, GRAPH, STILLINGER_WEBER, silicon
from kim_collection import KimCollection
from kimpy_host import PARTICLE_VIRIALS, VIRIAL, KimpyModel, energy
from lammps_host import Case, run_lammps

pytestmark = pytest.mark.usefixtures("collection", "examples")

# KIM's order of a symmetric tensor's entries; LAMMPS has them as xx yy zz xy xz yz.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (2, 0), (0, 1))
LAMMPS_TO_KIM = [0, 1, 2, 5, 4, 3]
BAR = 1e5 * units.Pascal  # eV/Å³

# These give virials of particles.
OF_PAIRS = (tiny.DESCRIPTOR, tiny.EDGES_1, tiny.EDGES_3)
TINY = (tiny.RAW, tiny.RAW_FORCES, tiny.RAW_TOTAL, tiny.GRAPH_1, tiny.GRAPH_3, tiny.GRAPH_TOTAL, *OF_PAIRS)


def virial_of(model: KimpyModel, configuration: Configuration) -> np.ndarray:
    return model.compute(configuration, (VIRIAL,))[0]


def strain_derivative(model: KimpyModel, configuration: Configuration, step: float = 1e-4) -> np.ndarray:
    """Return dE/d strain in KIM's order, by central differences of fourth order, eV."""
    result = np.empty(6)
    for place, (a, b) in enumerate(VOIGT):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5

        def at(multiple: int, strain: np.ndarray = strain) -> float:
            moved = configuration.coordinates @ (np.eye(3) + multiple * step * strain)
            return energy(model, replace(configuration, coordinates=moved))

        result[place] = (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * step)
    return result


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", TINY)
def test_the_virial_is_the_derivative_by_a_strain(name: str) -> None:
    model, particles = KimpyModel(name), mixed()
    found = virial_of(model, particles)
    expected = strain_derivative(model, particles)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_virial_of_the_examples_is_the_derivative_by_a_strain(name: str) -> None:
    model = KimpyModel(name)
    particles = of_atoms(silicon(), model.model.get_influence_distance())
    found = virial_of(model, particles)
    expected = strain_derivative(model, particles)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("make", [silicon, lambda: Atoms("Si2", positions=[[0, 0, 0], [0.5, 1.5, 2.1]])])
def test_the_virial_is_that_of_kims_own_model(make, reference: str) -> None:
    ours, theirs = KimpyModel(STILLINGER_WEBER), KimpyModel(reference)
    particles = of_atoms(make(), theirs.model.get_influence_distance())
    expected = virial_of(theirs, particles)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(virial_of(ours, particles), expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_virial_is_the_stress_of_ase(name: str) -> None:
    atoms = silicon()
    model = KimpyModel(name)
    found = virial_of(model, of_atoms(atoms, model.model.get_influence_distance()))
    atoms.calc = KIM(name)
    expected = atoms.get_stress() * atoms.get_volume()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


STRESS = """\
compute virial_of_atom all stress/atom NULL virial
compute virial all reduce sum c_virial_of_atom[*]
compute pressure all pressure NULL virial
thermo_style custom step pe press c_total c_virial[*] c_pressure[*]
run 0
variable sums string "$(c_virial[1]:%.17g) $(c_virial[2]:%.17g) $(c_virial[3]:%.17g)"
variable more string "$(c_virial[4]:%.17g) $(c_virial[5]:%.17g) $(c_virial[6]:%.17g)"
variable press string "$(c_pressure[1]:%.17g) $(c_pressure[2]:%.17g) $(c_pressure[3]:%.17g)"
variable shear string "$(c_pressure[4]:%.17g) $(c_pressure[5]:%.17g) $(c_pressure[6]:%.17g)"
print "${sums} ${more} ${press} ${shear} $(vol:%.17g)" file stress.txt"""


def stress_case(model: str) -> Case:
    atoms, species = (silicon(), ("Si",)) if model in EXAMPLES else (crystal(), tuple(tiny.ELEMENTS))
    return Case(model, model, atoms, run=STRESS.replace("stress.txt", f"{model}.stress"), species=species)


STRESSED = {name: stress_case(name) for name in (tiny.DESCRIPTOR, tiny.EDGES_3, DESCRIPTOR, EDGES)}


@pytest.fixture(scope="module", params=[1, 2, 3])
def stresses(
    request: pytest.FixtureRequest, collection: KimCollection, examples: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run all cases in one process of LAMMPS on so many ranks; return the folder of the results."""
    del examples
    folder = tmp_path_factory.mktemp("stresses")
    commands = "".join(case.write(folder) for case in STRESSED.values())
    done = run_lammps(collection, folder, commands, request.param)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("name", STRESSED)
def test_stress_of_atoms_in_lammps_sums_to_the_virial(stresses: Path, name: str) -> None:
    # The sum of stress/atom (bar Å³) and the pressure tensor (bar), both in LAMMPS' order, and the volume (Å³).
    numbers = np.array((stresses / f"{name}.stress").read_text().split(), dtype=float)
    sums, pressure, volume = numbers[:6], numbers[6:12], numbers[12]
    # LAMMPS computes the pressure from the forces. stress/atom has the sign of a stress, the opposite of a pressure's.
    np.testing.assert_allclose(sums, -pressure * volume, rtol=0, atol=1e-10 * np.abs(sums).max())
    model = KimpyModel(name)
    virial = virial_of(model, of_atoms(STRESSED[name].atoms, model.model.get_influence_distance()))
    np.testing.assert_allclose(sums[LAMMPS_TO_KIM] * BAR, virial, rtol=0, atol=2e-5 * np.abs(virial).max())
    assert np.abs(virial).max() > 0.01


@pytest.mark.parametrize("name", [STILLINGER_WEBER, GRAPH])
def test_lammps_tells_its_user_where_there_is_no_stress_of_atoms(
    collection: KimCollection, own_folder: Path, name: str
) -> None:
    case = Case("stress", name, silicon(), run=STRESS, species=("Si",))
    done = run_lammps(collection, own_folder, case.write(own_folder))
    assert "partialParticleVirial" in done.stdout + done.stderr
    assert not KimpyModel(name).supports(PARTICLE_VIRIALS)


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", OF_PAIRS)
@pytest.mark.parametrize("make", [mixed, lambda: of_atoms(cluster(), 3.0)])
def test_virials_of_particles_sum_to_the_virial(make, name: str) -> None:
    particles = make()
    virial, shares = KimpyModel(name).compute(particles, (VIRIAL, PARTICLE_VIRIALS))
    np.testing.assert_allclose(shares.sum(axis=0), virial, rtol=0, atol=1e-12 * np.abs(virial).max())
