# SPDX-License-Identifier: LGPL-2.1-or-later
"""Symmetry functions, compared with libdescriptor's values and the published formulas, and their invariances."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from surroundings import (
    all_pairs,
    in_another_order,
    moved,
    on,
    random_cluster,
    relative_error,
    surroundings,
    values_and_gradient,
)

from kim_torchml.descriptors.centre_blocks import make_blocks
from kim_torchml.descriptors.symmetry_functions.descriptor import SymmetryFunctionParameters, SymmetryFunctions
from kim_torchml.errors import DriverError

G1 = [("g1", ())]
G2 = [("g2", row) for row in [(0.01, 0.0), (0.1, 0.0), (0.3, 1.0), (0.7, 2.0)]]
G3 = [("g3", (0.5,)), ("g3", (1.3,))]
G4 = [("g4", row) for row in [(1, -1, 0.001), (1, 1, 0.01), (2, -1, 0.05), (4, 1, 0.1), (16, 1, 0.2)]]
G5 = [("g5", row) for row in [(1, -1, 0.002), (2, 1, 0.03), (8, -1, 0.05)]]
OF_GOLDEN_DATA = {"g1g2g3": G1 + G2 + G3, "g2g4": G2 + G4, "g5": G5}

# Families are mixed, repeated and out of order; some powers are not whole or less than one, and one lambda is not 1.
MIXED = [
    ("g5", (1.5, 1, 0.02)),
    ("g3", (0.9,)),
    ("g4", (0.7, -1, 0.03)),
    ("g2", (0.4, 0.8)),
    ("g4", (3, 0.6, 0.0)),
    ("g1", ()),
    ("g4", (1, 1, 0.1)),
    ("g2", (0.4, 0.8)),
    ("g5", (7, -1, 0.1)),
    ("g4", (1, 1, 0.1)),
]
# Each function has a zeta and an eta of its own, so that most combinations of the two are no function.
OFF_GRID = [(f"g{4 + i % 2}", (1 + 0.37 * i, (-1) ** i, 0.001 + 0.003 * i)) for i in range(40)]
CUTOFFS = ((3.0, 2.6), (2.6, 3.4))


def make(functions, cutoffs=CUTOFFS, **options):
    species = ("Si", "C", "O")[: len(cutoffs)]
    return SymmetryFunctions(SymmetryFunctionParameters(species, cutoffs, tuple(functions)), **options)


def fc(r, cutoff):
    """Behler (2011), equation 4."""
    return 0.5 * (math.cos(math.pi * r / cutoff) + 1.0) if r < cutoff else 0.0


def radial(family, numbers, r):
    """The summands of equations 5 to 7, without the cutoff function."""
    if family == "g1":
        return 1.0
    if family == "g2":
        eta, shift = numbers
        return math.exp(-eta * (r - shift) ** 2)
    return math.cos(numbers[0] * r)


def reference(functions, cutoffs, coordinates, codes, centre, neighbours):
    """Behler (2011), equations 5 to 9, one pair and one triplet at a time; each triplet once."""
    points = np.asarray(coordinates)
    row = []
    for family, numbers in functions:
        total = 0.0
        if family in ("g1", "g2", "g3"):
            for j in neighbours:
                r = math.dist(points[centre], points[j])
                total += radial(family, numbers, r) * fc(r, cutoffs[codes[centre]][codes[j]])
        else:
            zeta, slope, eta = numbers
            for j, k in itertools.combinations(neighbours, 2):
                to_j, to_k = points[j] - points[centre], points[k] - points[centre]
                r_ij, r_ik, r_jk = (math.hypot(*vector) for vector in (to_j, to_k, to_k - to_j))
                term = (1.0 + slope * (to_j @ to_k) / (r_ij * r_ik)) ** zeta
                term *= fc(r_ij, cutoffs[codes[centre]][codes[j]]) * fc(r_ik, cutoffs[codes[centre]][codes[k]])
                square = r_ij**2 + r_ik**2
                if family == "g4":
                    term *= fc(r_jk, cutoffs[codes[j]][codes[k]])
                    square += r_jk**2
                total += 2.0 ** (1.0 - zeta) * term * math.exp(-eta * square)
        row.append(total)
    return row


@pytest.mark.parametrize("structure", ["si8_periodic", "sic8_periodic", "sic32_cluster"])
@pytest.mark.parametrize("families", OF_GOLDEN_DATA)
def test_golden_data(structure, families, golden):
    data = golden(f"{structure}__symmetry_functions_{families}")
    n = len(data.species)
    descriptor = make(OF_GOLDEN_DATA[families], ((data.cutoff,) * n,) * n)
    values, gradient = values_and_gradient(descriptor, data.neighbourhoods, data.weights)
    assert relative_error(values, data.values) < 1e-12
    assert relative_error(gradient, data.gradient) < 1e-12


@pytest.mark.parametrize("functions", [G1, G2, G3, G4, G5, MIXED, G5 + G4 + G3, OFF_GRID], ids=len)
@pytest.mark.parametrize("cutoffs", [CUTOFFS, ((3.1, 3.1), (3.1, 3.1))], ids=["two cutoffs", "one cutoff"])
def test_published_formulas(functions, cutoffs):
    neighbourhoods = random_cluster(n_centres=8)
    expected = [
        reference(functions, cutoffs, neighbourhoods.coordinates, neighbourhoods.species_codes, centre, neighbours)
        for centre, neighbours in zip(neighbourhoods.centres, neighbourhoods.neighbours.view(8, -1), strict=True)
    ]
    assert relative_error(make(functions, cutoffs)(neighbourhoods), np.array(expected)) < 1e-13


@pytest.mark.parametrize(
    "functions", [G1 + G2 + G3, G4, G5, MIXED, OFF_GRID[::4]], ids=["radial", "g4", "g5", "mixed", "off grid"]
)
def test_gradients(functions):
    neighbourhoods = random_cluster(n=7, edge=2.6, n_centres=5)
    descriptor = make(functions)

    def values(coordinates):
        return descriptor(moved(neighbourhoods, coordinates))

    coordinates = neighbourhoods.coordinates.requires_grad_(True)
    assert torch.autograd.gradcheck(values, coordinates)
    assert torch.autograd.gradgradcheck(values, coordinates)


def test_gradient_of_a_gradient_by_the_weights():
    """Fitting to forces needs this."""
    neighbourhoods = random_cluster(n_centres=8)
    descriptor = make(MIXED)
    coordinates = neighbourhoods.coordinates.requires_grad_(True)
    weights = torch.linspace(-1, 1, 8 * len(MIXED), dtype=torch.float64).view(8, -1).requires_grad_(True)
    (forces,) = torch.autograd.grad(descriptor(neighbourhoods), coordinates, weights, create_graph=True)
    direct = values_and_gradient(descriptor, neighbourhoods, weights.detach())[1]
    assert relative_error(forces.detach(), direct) < 1e-12
    probe = torch.cos(torch.arange(forces.numel(), dtype=torch.float64)).view_as(forces)
    (by_weights,) = torch.autograd.grad((forces * probe).sum(), weights)
    step = 1e-5
    ahead, behind = (descriptor(moved(neighbourhoods, coordinates.detach() + sign * step * probe)) for sign in (1, -1))
    assert relative_error(by_weights, (ahead - behind) / (2 * step)) < 1e-8
    alone = torch.zeros((1, 3), dtype=torch.float64, requires_grad=True)
    values = descriptor(moved(all_pairs([[0.0, 0, 0]]), alone))
    assert torch.equal(torch.autograd.grad(values.sum(), alone, create_graph=True)[0], torch.zeros_like(alone))


def test_float32():
    neighbourhoods = random_cluster(n=30, edge=5.0)
    descriptor = make(MIXED)
    weights = torch.ones(30, len(MIXED))
    exact = values_and_gradient(descriptor, neighbourhoods, weights)
    rough = values_and_gradient(descriptor, on(neighbourhoods, torch.float32), weights)
    for found, expected in zip(rough, exact, strict=True):
        assert found.dtype == torch.float32
        assert relative_error(found.double(), expected) < 1e-5


def test_devices(device):
    neighbourhoods = random_cluster(n=30, edge=5.0)
    descriptor = make(MIXED)
    weights = torch.linspace(-1, 1, 30 * len(MIXED)).view(30, -1)
    expected = values_and_gradient(descriptor, neighbourhoods, weights)
    found = values_and_gradient(descriptor, on(neighbourhoods, torch.float64, device), weights)
    for there, here in zip(found, expected, strict=True):
        assert there.device == device
        assert relative_error(there.cpu(), here) < 1e-12


def test_order_of_particles_and_neighbours():
    neighbourhoods = random_cluster(n=20, edge=4.5, n_centres=13)
    descriptor = make(MIXED)
    weights = torch.linspace(-1, 1, 13 * len(MIXED)).view(13, -1)
    shuffled, new_rows, new_particles = in_another_order(neighbourhoods)
    weights_there = torch.empty_like(weights).index_copy_(0, new_rows, weights)
    values, gradient = values_and_gradient(descriptor, neighbourhoods, weights)
    values_there, gradient_there = values_and_gradient(descriptor, shuffled, weights_there)
    assert relative_error(values_there[new_rows], values) < 1e-13
    assert relative_error(gradient_there[new_particles], gradient) < 1e-13


@pytest.mark.parametrize("r_step", [1e-6, 1e-9])
@pytest.mark.parametrize("functions", [G1 + G2 + G3, G4, G5, MIXED], ids=["radial", "g4", "g5", "mixed"])
def test_through_the_cutoff(functions, r_step):
    """Particle 1 crosses the cutoff of the centre, which has two more neighbours."""
    descriptor = make(functions, ((3.0,),))

    def at(r):
        points = [[0, 0, 0], [r, 0, 0], [2.0, 1.0, 0.5], [-0.3, 1.6, 0.8]]
        return values_and_gradient(descriptor, all_pairs(points, centres=[0]), torch.ones(1, len(functions)))

    inside, outside, far = at(3.0 - r_step), at(3.0 + r_step), at(30.0)
    assert (inside[0] - outside[0]).abs().max() < 10 * r_step**2 + 1e-14
    assert (inside[1] - outside[1]).abs().max() < 10 * r_step
    for values, gradient in (outside, at(3.0)):
        assert torch.equal(values, far[0])
        assert torch.equal(gradient, far[1])
    assert (outside[1][1] == 0.0).all()


@pytest.mark.parametrize("r_step", [1e-6, 1e-9])
def test_g4_between_neighbours_through_the_cutoff(r_step):
    descriptor = make(G4, ((2.0,),))

    def at(r):
        points = [[0, 0, 0], [-r / 2, 1, 0], [r / 2, 1, 0]]
        return values_and_gradient(descriptor, all_pairs(points, centres=[0]), torch.ones(1, len(G4)))

    inside, outside = at(2.0 - r_step), at(2.0 + r_step)
    assert (inside[0] > 0.0).all()
    assert inside[0].max() < 10 * r_step**2
    assert inside[1].abs().max() < 10 * r_step
    for tensor in (*outside, *at(2.0)):
        assert (tensor == 0.0).all()


def test_cutoff_of_each_pair_of_species():
    """A neighbour is counted up to the cutoff of its species and the centre's."""
    descriptor = make(G1, CUTOFFS)
    for (first, second), cutoff in {(0, 0): 3.0, (0, 1): 2.6, (1, 0): 2.6, (1, 1): 3.4}.items():
        for r, counted in ((cutoff - 0.01, True), (cutoff + 0.01, False)):
            pair = all_pairs([[0, 0, 0], [r, 0, 0]], [first, second], centres=[0])
            assert (descriptor(pair)[0, 0] > 0.0) == counted


@pytest.mark.parametrize("n_neighbours", [0, 1, 2, 150])
def test_numbers_of_neighbours(n_neighbours):
    random = np.random.default_rng(5)
    directions = random.normal(size=(n_neighbours, 3))
    radii = random.uniform(1.0, 2.5, (n_neighbours, 1))
    points = np.vstack([np.zeros((1, 3)), radii * directions / np.linalg.norm(directions, axis=1, keepdims=True)])
    neighbourhoods = all_pairs(points, centres=[0])
    functions = G1 + G3 + G4 + G5
    values, gradient = values_and_gradient(make(functions), neighbourhoods, torch.ones(1, len(functions)))
    expected = reference(functions, CUTOFFS, points, [0] * len(points), 0, range(1, n_neighbours + 1))
    assert values[0].tolist() == pytest.approx(expected, rel=1e-11, abs=1e-14)
    assert torch.isfinite(gradient).all()
    assert torch.allclose(gradient.sum(dim=0), gradient.new_zeros(3), atol=1e-10)
    if n_neighbours == 0:
        assert (values == 0.0).all()
        assert (gradient == 0.0).all()


def test_no_centres():
    values, gradient = values_and_gradient(make(MIXED), surroundings([[0, 0, 0]], [0], [], []), torch.ones(0, 10))
    assert values.shape == (0, 10)
    assert (gradient == 0.0).all()


def test_no_particles():
    assert make(MIXED)(surroundings(np.zeros((0, 3)), [], [], [])).shape == (0, 10)


@pytest.mark.parametrize("zeta", [1, 0.5, 4, 16])
@pytest.mark.parametrize("slope", [-1, 1])
def test_neighbours_in_line(zeta, slope):
    """1 + lambda cos theta is zero here, or rounding makes it differ from zero: roots and powers of it stay finite."""
    points = np.outer([0.0, 0.7, 1.6, -0.9, -1.3], [1, 1, 1]) / math.sqrt(3)
    functions = [("g4", (zeta, slope, 0.1)), ("g5", (zeta, slope, 0.1))]
    values, gradient = values_and_gradient(make(functions), all_pairs(points), torch.ones(5, 2))
    assert torch.isfinite(values).all()
    assert (values >= 0.0).all()
    assert torch.isfinite(gradient).all()


def test_particles_at_the_same_place():
    points = [[0, 0, 0], [1.5, 0, 0], [0, 1.25, 1e-3], [0, 1.25, 1e-3]]
    message = (
        "particles 2 and 3 (counted from 0) are at the same place, (0, 1.25, 0.001) Å, where the descriptor is not "
        "defined; move or remove one of them"
    )
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        make(MIXED)(all_pairs(points, centres=[2]))


def test_neighbours_at_the_same_place():
    """They do not see each other unless one is a centre, so the value is that of the formulas."""
    points = [[0, 0, 0], [0, 1.25, 0.5], [0, 1.25, 0.5], [1.5, 0.1, 0]]
    functions = G2 + G4 + G5
    values, gradient = values_and_gradient(make(functions), all_pairs(points, centres=[0]), torch.ones(1, 12))
    expected = reference(functions, CUTOFFS, points, [0] * 4, 0, [1, 2, 3])
    assert values[0].tolist() == pytest.approx(expected, rel=1e-12)
    assert torch.isfinite(gradient).all()


def test_a_coordinate_that_is_not_a_number_shows():
    neighbourhoods = random_cluster(n=5, edge=2.0)
    neighbourhoods.coordinates[2, 1] = torch.nan
    values = make(MIXED)(neighbourhoods)
    assert torch.isnan(values).all()


@pytest.mark.parametrize("functions", [MIXED, OFF_GRID], ids=["mixed", "off grid"])
@pytest.mark.parametrize("block_bytes", [1, 40_000, 300_000])
def test_blocks_do_not_change_the_result(functions, block_bytes, monkeypatch):
    neighbourhoods = random_cluster(n=40, edge=5.5)
    weights = torch.linspace(-1, 1, 40 * len(functions)).view(40, -1)
    expected = values_and_gradient(make(functions), neighbourhoods, weights)
    n_blocks = []

    def count_blocks(*arguments):
        n_blocks.append(len(found := make_blocks(*arguments)))
        return found

    monkeypatch.setattr("kim_torchml.descriptors.symmetry_functions.descriptor.make_blocks", count_blocks)
    descriptor = make(functions, block_bytes=block_bytes)
    for found, whole in zip(values_and_gradient(descriptor, neighbourhoods, weights), expected, strict=True):
        assert relative_error(found, whole) < 1e-13
    assert n_blocks[0] > 3


def test_blocks_hold_every_pair_once():
    counts = torch.tensor([3, 0, 7, 6, 7, 1, 0, 40, 6])
    for budget in (1, 14, 1000):
        made = make_blocks(counts, float, budget)
        rows = torch.cat([block.rows for block in made])
        assert sorted(rows.tolist()) == [0, 2, 3, 4, 5, 7, 8]
        starts = counts.cumsum(0) - counts
        for block in made:
            assert len(block.rows) == 1 or block.pairs.numel() <= budget
            for row, pairs, present in zip(block.rows, block.pairs, block.present, strict=True):
                assert pairs[present].tolist() == list(range(starts[row], starts[row] + counts[row]))
                assert (pairs[~present] == 0).all()


def test_attributes():
    descriptor = make(MIXED)
    assert descriptor.width == len(MIXED)
    assert descriptor.cutoff == 3.4
    assert descriptor.species == ("Si", "C")


def test_many_angles_with_few_widths_stay_together():
    """Half of the combinations are functions, in an order that is not sorted, with one of them twice."""
    functions = [("g4", (1 + i % 20, 1, 0.01 * (1 + i // 20))) for i in range(60) if i % 20 != 7]
    functions = [*functions[::-2], *functions[::2], functions[3]]
    neighbourhoods = random_cluster(n_centres=4)
    expected = [
        reference(functions, CUTOFFS, neighbourhoods.coordinates, neighbourhoods.species_codes, centre, neighbours)
        for centre, neighbours in zip(neighbourhoods.centres, neighbourhoods.neighbours.view(4, -1), strict=True)
    ]
    assert relative_error(make(functions)(neighbourhoods), np.array(expected)) < 1e-13
