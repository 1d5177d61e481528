# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example models are compared with KIM's Stillinger-Weber model, and one simulator with another."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.kim import KIM
from configurations import of_atoms
from example_models import EDGES, EXAMPLES, GRAPH, STILLINGER_WEBER, silicon
from kim_collection import KimCollection
from kimpy_host import FORCES, KimpyModel, minus_gradient
from lammps_host import Case, CaseResults, run_lammps

pytestmark = pytest.mark.every_system


def droplet() -> Atoms:
    """Return 64 atoms in the lower half of a long box, so that the upper of two ranks gets none."""
    atoms = silicon()
    atoms.positions += 1.0 - atoms.positions.min(axis=0)
    atoms.pbc = False
    atoms.cell = [*(atoms.positions.max(axis=0) + 1.0)[:2], 60.0]
    return atoms


STRUCTURES = {"crystal": silicon, "droplet": droplet}


@pytest.fixture(scope="module")
def lammps(
    collection: KimCollection, examples: None, reference: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str, int], CaseResults]:
    """Return LAMMPS' results by model, structure and number of ranks."""
    del examples
    cases = [
        Case(f"{model}_{name}", model, make(), "1 1 *", species=("Si",))
        for model in (reference, *EXAMPLES)
        for name, make in STRUCTURES.items()
    ]
    results = {}
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp("lammps")
        done = run_lammps(collection, folder, "".join(case.write(folder) for case in cases), ranks)
        assert done.returncode == 0, done.stdout + done.stderr
        for case in cases:
            results[case.model, case.name.rpartition("_")[2], ranks] = case.read(folder)
    return results


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("ranks", [1, 2])
def test_stillinger_weber_in_lammps(lammps: dict, reference: str, structure: str, ranks: int) -> None:
    found, expected = lammps[STILLINGER_WEBER, structure, ranks], lammps[reference, structure, 1]
    assert found.energy == pytest.approx(expected.energy, rel=1e-9)
    assert found.pressure == pytest.approx(expected.pressure, rel=1e-9)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.atom_energies.sum(), expected.energy, rtol=1e-9)


@pytest.mark.parametrize("model", [GRAPH, EDGES])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_graph_example_on_two_ranks(lammps: dict, structure: str, model: str) -> None:
    one, two = lammps[model, structure, 1], lammps[model, structure, 2]
    assert two.energy == pytest.approx(one.energy, rel=1e-12)
    assert two.pressure == pytest.approx(one.pressure, rel=1e-10)
    np.testing.assert_allclose(two.forces, one.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(two.atom_energies, one.atom_energies, rtol=0, atol=1e-10)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_both_kinds_of_the_graph_example_agree_in_lammps(lammps: dict, structure: str, ranks: int) -> None:
    expected, found = lammps[GRAPH, structure, ranks], lammps[EDGES, structure, ranks]
    assert found.energy == pytest.approx(expected.energy, rel=1e-12)
    assert found.pressure == pytest.approx(expected.pressure, rel=1e-11)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.atom_energies, expected.atom_energies, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("structure", STRUCTURES)
def test_stillinger_weber_in_ase(reference: str, structure: str) -> None:
    atoms, expected = STRUCTURES[structure](), STRUCTURES[structure]()
    atoms.calc, expected.calc = KIM(STILLINGER_WEBER), KIM(reference)
    assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), rtol=0, atol=1e-9)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), rtol=0, atol=1e-9)


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("model", EXAMPLES)
def test_lammps_and_ase_agree(lammps: dict, model: str) -> None:
    atoms = silicon()
    atoms.calc = KIM(model)
    found = lammps[model, "crystal", 1]
    assert found.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), rtol=0, atol=1e-10)


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("model", EXAMPLES)
def test_forces_of_examples_are_minus_the_gradient(model: str) -> None:
    host = KimpyModel(model)
    particles = of_atoms(silicon(), host.model.get_influence_distance())
    (forces,) = host.compute(particles, (FORCES,))
    for particle in (0, 40, 64):
        expected = minus_gradient(host, particles, particle, step=1e-3)
        np.testing.assert_allclose(forces[particle], expected, rtol=0, atol=1e-7)
