# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the verification checks calculate with: grades, numerical derivatives, jumps, images and neighbour lists."""

import ctypes
import math

import kimpy.neighlist
import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from scipy.interpolate import CubicSpline

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.particles import particles_of
from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.verification.allocated import allocated_bytes, resident_bytes
from kim_torchml.tools.verification.checks.forces_numerical_derivative import relative_error
from kim_torchml.tools.verification.checks.memory_leak import growth_of
from kim_torchml.tools.verification.checks.objectivity import rotation
from kim_torchml.tools.verification.checks.permutation_symmetry import permutation
from kim_torchml.tools.verification.comparison import difference, differences
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.derivatives import Derivative, gradient, noise_of
from kim_torchml.tools.verification.grades import MACHINE_PRECISION, letter_grade, pass_grade
from kim_torchml.tools.verification.jumps import find_jumps
from kim_torchml.tools.verification.lengths import find_bond, find_nearest
from kim_torchml.tools.verification.model_under_test import EnergyAndForces


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
    found = gradient(lambda x: float(np.exp(x[0]) * np.sin(x[1]) + x[2] ** 3), at, 0.05, 2e-15)
    exact = np.array([np.exp(0.3) * np.sin(1.7), np.exp(0.3) * np.cos(1.7), 12.0])
    np.testing.assert_allclose(found.values, exact, rtol=1e-11)
    assert (np.abs(found.values - exact) <= 10.0 * found.uncertainties + 1e-14).all()
    assert found.uncertainties.max() < 1e-8


def test_gradient_beside_a_kink_is_that_of_its_side() -> None:
    found = gradient(lambda x: float(abs(x[0] - 0.001)), np.zeros(1), 0.05, 1e-16)
    assert found.values[0] == pytest.approx(-1.0, abs=1e-9)
    assert found.uncertainties[0] < 1e-9


def test_gradient_of_a_spline_does_not_cross_its_knots() -> None:
    """Knots 0.01 apart, as in tables of metals; the first step is wider."""
    knots = np.arange(0.0, 2.0, 0.01)
    spline = CubicSpline(knots, np.sin(7.0 * knots) + 1e-3 * np.random.default_rng(0).random(len(knots)))
    at = np.array([0.9971, 1.2345, 0.61])
    found = gradient(lambda x: float(spline(x).sum()), at, 0.025, 1e-15)
    np.testing.assert_allclose(found.values, spline(at, 1), rtol=1e-8)


def test_gradient_in_single_precision_knows_its_noise() -> None:
    def single(x):
        return float(np.float32(np.sin(np.float32(x[0]))) + np.float32(40.0))

    at = np.array([0.7])
    noise = noise_of(single, at, np.ones(1), 1e-6)
    assert 1e-7 < noise < 1e-5
    found = gradient(single, at, 0.05, noise)
    assert abs(found.values[0] - np.cos(0.7)) < 10.0 * found.uncertainties[0]


def test_noise_of_double_precision_is_its_rounding() -> None:
    noise = noise_of(lambda x: float(np.sin(x[0]) + 40.0), np.array([0.7]), np.ones(1), 1e-6)
    assert 8e-15 < noise < 5e-14


def test_force_error_is_relative_and_weighted() -> None:
    derivative = Derivative(np.array([1.0, -2.0]), np.array([1e-10, 1e-10]))
    assert relative_error(np.array([-1.0, 2.0]), derivative) == 0.0
    assert relative_error(np.array([1.0, -2.0]), derivative) == pytest.approx(2.0)
    poor = Derivative(np.array([1.0, -2.0]), np.array([1e-10, 1e-2]))
    assert relative_error(np.array([-1.0, 2.2]), poor) < 1e-4 < relative_error(np.array([-1.0, 2.2]), derivative)
    assert relative_error(np.zeros(2), Derivative(np.zeros(2), np.zeros(2))) == math.inf


def curve(x):
    return 4.0 * ((2.5 / x) ** 12 - (2.5 / x) ** 6)


GRID = np.linspace(1.4, 5.0, 600)


def greatest(function, suspects=(), of=0):
    """The greatest leftover of the curve (of its slope: 1) that is well above the noise around it."""
    jumps = [pair[of] for pair in find_jumps(function, GRID, function(GRID), suspects)]
    return max(jumps, key=lambda jump: jump.size * (jump.size > 30.0 * jump.noise) / max(0.5, jump.level))


@pytest.mark.parametrize("place", [1.6, 2.71828, 3.9])
@pytest.mark.parametrize("size", [1e-1, 1e-4, 1e-6])
def test_jumps_are_found_and_measured(place: float, size: float) -> None:
    scaled = size * max(0.5, abs(curve(place)))
    found = greatest(lambda x: curve(x) + scaled * (x > place))
    assert found.at == pytest.approx(place, abs=1e-4)
    assert found.size == pytest.approx(scaled, rel=0.05)


@pytest.mark.parametrize(
    ("place", "size"),
    [(1.7001, 1e-1), (1.7031, 1e-1), (1.9, 1e-2), (2.71828, 1e-3), (3.9, 1e-4), (4.2, 1e-4)],
)
def test_kinks_are_found_and_measured(place: float, size: float) -> None:
    found = greatest(lambda x: curve(x) + size * np.maximum(0.0, x - place), of=1)
    assert found.at == pytest.approx(place, abs=1e-4)
    assert found.size == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("of", [0, 1])
def test_smooth_curve_has_none(of: int) -> None:
    found = greatest(curve, of=of)
    assert found.size <= max(1e-8 * max(0.5, found.level), 30.0 * found.noise)


def test_kink_is_no_jump() -> None:
    """Of the curve itself; its slope has one."""
    function = lambda x: curve(x) + 0.5 * np.maximum(0.0, x - 3.0)  # noqa: E731
    found = greatest(function, suspects=(3.0,))
    assert found.size <= 1e-7 * max(0.5, found.level)
    assert greatest(function, suspects=(3.0,), of=1).size == pytest.approx(0.5, rel=1e-3)


def test_jump_of_the_second_derivative_is_no_kink() -> None:
    """Splines of tables have some, of the order of 10 eV/Å^2."""
    found = greatest(lambda x: curve(x) + 5.0 * np.maximum(0.0, x - 3.0) ** 2, suspects=(3.0,), of=1)
    assert found.size <= 1e-6


@pytest.mark.parametrize("power", ["x**2 ln x", "x**1.5"])
def test_curves_that_turn_ever_faster_have_no_jump(power: str) -> None:
    """Their slopes change by much within any interval, but they do not jump: MEAM's cutoff functions do so."""

    def function(x):
        d = np.maximum(4.0 - x, 1e-300)
        return curve(x) + 3e3 * (d**2 * np.log(d) * 1e-1 if power == "x**2 ln x" else 1e-4 * d**1.5) * (x < 4.0)

    found = greatest(function, suspects=(4.0,), of=1)
    assert found.size <= max(1e-6, 30.0 * found.noise)


@pytest.mark.parametrize("of", [0, 1])
def test_single_precision_is_no_jump(of: int) -> None:
    def single(x):
        return curve(x.astype(np.float32)).astype(np.float64)

    found = greatest(single, of=of)
    assert found.size <= 30.0 * found.noise or found.size <= 1e-6 * max(0.5, found.level)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_value_that_rounding_makes_one_of_two_has_no_kink(share: float) -> None:
    """Where a curve in single precision is flat, few neighbouring values may happen to be on either side."""
    for seed in range(40):

        def flat(x, seed=seed):
            bits = np.ascontiguousarray(x).view(np.uint64) ^ np.uint64(seed)
            is_up = np.array([np.random.default_rng(each).random() for each in bits]) < share
            return -1.8 - 1e-3 * np.maximum(0.0, 4.5 - x) ** 3 + 8e-7 * is_up

        found = find_jumps(flat, GRID, flat(GRID), (4.5,))
        assert not [slope for _, slope in found if slope.size > 30.0 * slope.noise], seed


def test_suspects_are_looked_at() -> None:
    """A jump too small to stand out on the grid, at the cutoff."""
    place = 1.9
    jumps = [jump for jump, _ in find_jumps(lambda x: curve(x) + 3e-7 * (x > place), GRID, curve(GRID), (place,))]
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


def of_dimer(energy):
    """Energy of a structure of two atoms from their distance."""
    return lambda dimer: energy(float(np.linalg.norm(dimer.positions[1] - dimer.positions[0])))


def test_bond_is_where_the_energy_is_least() -> None:
    assert find_bond(of_dimer(lambda r: (r - 2.5) ** 2), "Si", "Si", 5.0) == pytest.approx(2.5, abs=1e-3)


def test_bond_of_a_model_that_fails_when_dense() -> None:
    """The energy need not be known on the near side."""

    def energy(distance: float) -> float:
        if distance < 2.45:
            raise ModelError("too dense")
        return (distance - 2.5) ** 2

    assert find_bond(of_dimer(energy), "Si", "Si", 5.0) == pytest.approx(2.5, abs=0.06)


def test_bond_is_no_shallow_well_far_out() -> None:
    """Metals' pair energies swing there."""

    def energy(r: float) -> float:
        return 5.0 * ((2.3 / r) ** 12 - 2.0 * (2.3 / r) ** 6) + 0.05 * np.cos(4.0 * (r - 6.0)) * (r < 7.0)

    assert find_bond(of_dimer(energy), "Zr", "Zr", 7.6) == pytest.approx(2.3, abs=0.05)


@pytest.mark.parametrize(("species", "bond"), [("Ar", 3.8), ("He", 3.0), ("H", 0.7), ("user01", 1.0)])
def test_bond_whatever_the_element(species: str, bond: float) -> None:
    """Noble gases are much wider than their radii; a universal model's cutoff is far beyond what hydrogen sees."""
    energy = of_dimer(lambda r: 0.01 * ((bond / r) ** 12 - 2.0 * (bond / r) ** 6))
    assert find_bond(energy, species, species, 15.3) == pytest.approx(bond, abs=0.02)


def test_bond_is_no_deep_well_far_in() -> None:
    """Trained models have them where they were never trained."""

    def energy(r: float) -> float:
        return -4.0 * np.exp(-8.0 * (r - 2.9) ** 2) - 6.0 * np.exp(-8.0 * (r - 1.6) ** 2)

    assert find_bond(of_dimer(energy), "Si", "Si", 4.5) == pytest.approx(2.9, abs=0.01)


def test_bond_is_before_the_wall() -> None:
    """What comes behind it is an artefact."""
    energy = of_dimer(lambda r: 5.0 * ((2.3 / r) ** 12 - 2.0 * (2.3 / r) ** 6) if r > 1.4 else -1000.0 * (r - 1.3))
    assert find_bond(energy, "Zr", "Zr", 7.6) == pytest.approx(2.3, abs=0.01)


def test_bond_of_a_model_that_only_repels_is_where_it_does() -> None:
    """0.1 eV an atom."""
    assert find_bond(of_dimer(lambda r: 20.0 * np.exp(-2.0 * r)), "Si", "Si", 5.0) == pytest.approx(2.3, abs=0.05)


def test_bond_without_interaction_follows_the_radii() -> None:
    """Twice silicon's covalent radius, 1.11 Å."""
    assert find_bond(lambda structure: 0.0, "Si", "Si", 5.0) == pytest.approx(2.22)
    assert find_bond(lambda structure: 0.0, "Si", "Si", 2.0) == pytest.approx(1.7)


@pytest.mark.parametrize(("lattice", "factor"), [("fcc", 0.9712), ("bcc", 0.9519)])
def test_nearest_distance_of_lennard_jones_crystals(lattice: str, factor: float) -> None:
    """The lattice sums of Lennard-Jones (Kittel, ch. 3): fcc 12.13 and 14.45, bcc 9.114 and 12.25, of r/sigma."""

    def energy(cell: Structure) -> float:
        if not any(cell.periodic):
            return math.nan
        atoms = Atoms(["Ar"] * len(cell), cell.positions, cell=cell.cell, pbc=True)
        r = neighbor_list("d", atoms, 9.0)
        return float(2.0 * 0.0104 * ((3.0 / r) ** 12 - (3.0 / r) ** 6).sum())

    bond = 2.0 ** (1.0 / 6.0) * 3.0
    assert find_nearest(energy, lattice, ["Ar"], 6.4) == pytest.approx(factor * bond, rel=5e-3)


def test_difference_is_relative_to_the_forces() -> None:
    forces = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    reference = EnergyAndForces(0.0, forces)
    assert difference(reference, reference, 2.0) == 0.0
    assert difference(EnergyAndForces(1e-3, forces), reference, 2.0) == pytest.approx(5e-4)
    assert difference(EnergyAndForces(0.0, forces * 1.01), reference, 2.0) == pytest.approx(0.01)
    assert difference(EnergyAndForces(0.0, np.zeros((2, 3))), EnergyAndForces(0.0, np.zeros((2, 3))), 2.0) == 0.0
    assert difference(EnergyAndForces(1.0, None), EnergyAndForces(0.0, None), 2.0) == math.inf
    apart = differences(EnergyAndForces(1e-3, forces * 1.01), reference, 2.0)
    assert apart == {"energy": pytest.approx(5e-4), "forces": pytest.approx(0.01)}


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


def test_growth_of_a_leak() -> None:
    """1000 bytes a cycle, in pages."""
    cycles = np.arange(0, 500, 5.0)
    steps = np.floor(cycles * 1000.0 / 4096.0) * 4096.0
    found = growth_of({"cycles": cycles, "resident": 1e8 + steps}, "resident")
    assert found.steady == pytest.approx(1000.0, rel=0.1)
    assert found.whole == pytest.approx(1000.0, rel=0.1)


def test_growth_in_lumps() -> None:
    """1 MB in every 200 cycles: most windows see nothing of it."""
    cycles = np.arange(0, 1000, 5.0)
    found = growth_of({"cycles": cycles, "allocated": 1e6 * np.floor((cycles + 90.0) / 400.0)}, "allocated")
    assert found.steady == pytest.approx(0.0, abs=1e-6)
    assert found.greatest == found.whole > 1000.0
    assert found.in_lumps(256.0)


def test_memory_is_measured() -> None:
    """To the byte, where the C library tells."""
    before = allocated_bytes()
    if before is None:
        pytest.skip("the C library has no mallinfo2 (glibc 2.33 and newer have)")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    kept = libc.malloc(1_000_000)
    grown = allocated_bytes()
    libc.free(kept)
    assert 1_000_000 <= grown - before < 1_100_000
    assert resident_bytes() > 1_000_000
