# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the verification checks calculate with: grades, numerical derivatives, jumps, images and neighbour lists."""

import math

import kimpy.neighlist
import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from kim_torchml.verification.bench import Evaluation
from kim_torchml.verification.checks.forces_numerical_derivative import relative_error
from kim_torchml.verification.checks.memory_leak import slopes
from kim_torchml.verification.checks.objectivity import rotation
from kim_torchml.verification.checks.permutation_symmetry import permutation
from kim_torchml.verification.comparison import difference
from kim_torchml.verification.derivatives import Derivative, gradient
from kim_torchml.verification.grades import MACHINE_PRECISION, letter_grade, pass_grade
from kim_torchml.verification.jumps import find_jumps
from kim_torchml.verification.particles import particles_of
from kim_torchml.verification.structures import Structure, crystal


@pytest.mark.parametrize(
    ("score", "letter"),
    [(0.0, "A"), (7.4, "A"), (7.6, "B"), (9.9, "B"), (10.1, "C"), (12.6, "D"), (14.9, "D"), (15.1, "F")],
)
def test_letters_follow_openkims_scale(score: float, letter: str) -> None:
    assert letter_grade(MACHINE_PRECISION * 10.0**score) == letter


@pytest.mark.parametrize(("error", "grades"), [(0.0, "AP"), (1e-30, "AP"), (math.nan, "FF"), (math.inf, "FF")])
def test_grades_of_odd_numbers(error: float, grades: str) -> None:
    assert letter_grade(error) + pass_grade(error) == grades


def test_pass_needs_the_tolerance() -> None:
    assert (pass_grade(9.9e-7), pass_grade(1.1e-6)) == ("P", "F")


def test_gradient_is_as_good_as_its_uncertainty() -> None:
    at = np.array([0.3, 1.7, -2.0])
    found = gradient(lambda x: float(np.exp(x[0]) * np.sin(x[1]) + x[2] ** 3), at, 0.05)
    exact = np.array([np.exp(0.3) * np.sin(1.7), np.exp(0.3) * np.cos(1.7), 12.0])
    np.testing.assert_allclose(found.values, exact, rtol=1e-11)
    assert (np.abs(found.values - exact) <= 10.0 * found.uncertainties + 1e-14).all()
    assert found.uncertainties.max() < 1e-8


def test_gradient_of_a_kink_is_uncertain() -> None:
    found = gradient(lambda x: float(abs(x[0] - 0.001)), np.zeros(1), 0.05)
    assert found.uncertainties[0] > 1e-3


def test_force_error_is_relative_and_weighted() -> None:
    derivative = Derivative(np.array([1.0, -2.0]), np.array([1e-10, 1e-10]))
    assert relative_error(np.array([-1.0, 2.0]), derivative) == 0.0
    assert relative_error(np.array([1.0, -2.0]), derivative) == pytest.approx(2.0)
    poor = Derivative(np.array([1.0, -2.0]), np.array([1e-10, 1e-2]))
    assert relative_error(np.array([-1.0, 2.2]), poor) < 1e-4 < relative_error(np.array([-1.0, 2.2]), derivative)
    assert relative_error(np.zeros(2), Derivative(np.zeros(2), np.zeros(2))) == 0.0


def curve(x):
    return 4.0 * ((2.5 / x) ** 12 - (2.5 / x) ** 6)


GRID = np.linspace(1.4, 5.0, 600)


def greatest(function, suspects=()):
    """The greatest leftover that is well above the noise around it."""
    jumps = find_jumps(function, GRID, function(GRID), suspects)
    return max(jumps, key=lambda jump: jump.size * (jump.size > 30.0 * jump.noise) / max(0.5, jump.level))


@pytest.mark.parametrize("place", [1.6, 2.71828, 3.9])
@pytest.mark.parametrize("size", [1e-1, 1e-4, 1e-6])
def test_jumps_are_found_and_measured(place: float, size: float) -> None:
    scaled = size * max(0.5, abs(curve(place)))
    found = greatest(lambda x: curve(x) + scaled * (x > place))
    assert found.at == pytest.approx(place, abs=1e-4)
    assert found.size == pytest.approx(scaled, rel=0.05)


def test_smooth_curve_has_none() -> None:
    found = greatest(curve)
    assert found.size <= 1e-8 * max(0.5, found.level)


def test_kink_is_no_jump() -> None:
    """Of the curve itself; its derivative has one."""
    found = greatest(lambda x: curve(x) + 0.5 * np.maximum(0.0, x - 3.0), suspects=(3.0,))
    assert found.size <= 1e-5 * max(0.5, found.level)


def test_single_precision_is_no_jump() -> None:
    def single(x):
        return curve(x.astype(np.float32)).astype(np.float64)

    found = greatest(single)
    assert found.size <= 30.0 * found.noise or found.size <= 1e-6 * max(0.5, found.level)


def test_suspects_are_looked_at() -> None:
    """A jump too small to stand out on the grid, at the cutoff."""
    place = 1.9
    jumps = find_jumps(lambda x: curve(x) + 3e-7 * (x > place), GRID, curve(GRID), (place,))
    assert any(abs(jump.at - place) < 1e-4 and jump.size == pytest.approx(3e-7, rel=0.2) for jump in jumps)


def structure(periodic: tuple[bool, bool, bool]) -> Structure:
    random = np.random.default_rng(2)
    cell = np.array([[4.0, 0.0, 0.0], [0.7, 3.6, 0.0], [-0.4, 0.9, 3.9]])
    # Some outside the cell.
    positions = random.uniform(-0.3, 1.4, (5, 3)) @ cell
    return Structure(("Ar", "Kr", "Ar", "Ar", "Kr"), positions, cell, periodic)


@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, True), (False, False, False)])
def test_particles_and_lists_agree_with_ase(periodic: tuple[bool, bool, bool]) -> None:
    """Every atom has the neighbours, by species and distance, that ASE finds in the periodic structure."""
    reach = 5.0
    atoms = structure(periodic)
    particles = particles_of(atoms, {"Ar": 3, "Kr": 7}, reach)
    lists = kimpy.neighlist.create()
    lists.build(particles.coordinates, reach, np.array([reach]), np.ones(len(particles), dtype=np.int32))
    expected = Atoms(list(atoms.species), atoms.positions, cell=atoms.cell, pbc=periodic)
    first, second, distances = neighbor_list("ijd", expected, reach)
    for atom in range(len(atoms)):
        _, found = lists.get_neigh(np.array([reach]), 0, atom)
        of_ase = sorted(zip(distances[first == atom], second[first == atom], strict=True))
        vectors = particles.coordinates[found] - particles.coordinates[atom]
        ours = sorted(zip(np.linalg.norm(vectors, axis=1), particles.owners[found], strict=True))
        np.testing.assert_allclose(ours, of_ase, atol=1e-12)
        codes = [{"Ar": 3, "Kr": 7}[atoms.species[owner]] for owner in particles.owners[found]]
        assert particles.codes[found].tolist() == codes
    assert particles.contributing.tolist() == [1] * 5 + [0] * (len(particles) - 5)


@pytest.mark.parametrize(("lattice", "neighbours"), [("fcc", 12), ("bcc", 8), ("diamond", 4)])
def test_crystals_have_their_nearest_distance(lattice: str, neighbours: int) -> None:
    cell = crystal(lattice, (2, 2, 2), 2.5, ["Ar"], np.random.default_rng(0), rattle=0.0)
    atoms = Atoms(["Ar"] * len(cell), cell.positions, cell=cell.cell, pbc=True)
    first, distances = neighbor_list("id", atoms, 2.5 * 1.05)
    assert np.bincount(first).tolist() == [neighbours] * len(cell)
    np.testing.assert_allclose(distances, 2.5)


def test_crystals_hold_every_species() -> None:
    species = ["Ar", "Kr", "Xe", "Ne"]
    for seed in range(20):
        assert set(crystal("fcc", (1, 1, 1), 2.5, species, np.random.default_rng(seed)).species) == set(species)


def test_difference_is_relative_to_the_forces() -> None:
    forces = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    reference = Evaluation(0.0, forces)
    assert difference(reference, reference, 2.0) == 0.0
    assert difference(Evaluation(1e-3, forces), reference, 2.0) == pytest.approx(5e-4)
    assert difference(Evaluation(0.0, forces * 1.01), reference, 2.0) == pytest.approx(0.01)
    assert difference(Evaluation(0.0, np.zeros((2, 3))), Evaluation(0.0, np.zeros((2, 3))), 2.0) == 0.0
    assert difference(Evaluation(1.0, None), Evaluation(0.0, None), 2.0) == math.inf


def test_rotation_is_one() -> None:
    for seed in range(5):
        turn = rotation(np.random.default_rng(seed))
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-14)
        assert np.linalg.det(turn) == pytest.approx(1.0)


def test_permutation_keeps_species_and_moves_atoms() -> None:
    random = np.random.default_rng(1)
    piece = crystal("diamond", (2, 1, 1), 2.5, ["Ar", "Kr"], random)
    order = permutation(piece, random)
    assert sorted(order) == list(range(len(piece)))
    assert [piece.species[index] for index in order] == list(piece.species)
    assert (order != np.arange(len(piece))).sum() > len(piece) // 2


def test_slopes_of_a_leak() -> None:
    cycles = np.arange(0, 500, 5.0)
    steps = np.floor(cycles * 1000.0 / 4096.0) * 4096.0
    assert np.median(slopes(np.column_stack([cycles, 1e8 + steps]))) == pytest.approx(1000.0, rel=0.1)
