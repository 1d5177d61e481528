# SPDX-License-Identifier: LGPL-2.1-or-later
"""Symmetry functions at their limits: near neighbours, sharp angles, parameters out of range, memory."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from surroundings import all_pairs, values_and_gradient
from test_symmetry_functions import CUTOFFS, fc, make, reference

from kim_torchml.descriptors.symmetry_functions.descriptor import SymmetryFunctionParameters
from kim_torchml.errors import DriverError


@pytest.mark.parametrize("r", [1e-2, 1e-4, 1e-8])
def test_a_neighbour_much_closer_than_another(r):
    """The angle between the two is as exact as elsewhere."""
    points = np.array([[0, 0, 0], [0, r, 0], [1.1, 1.9, 0.8]])
    functions = [("g5", (16, 1, 0.01)), ("g4", (1, -1, 0.01))]
    values, gradient = values_and_gradient(make(functions), all_pairs(points, centres=[0]), torch.ones(1, 2))
    expected = reference(functions, CUTOFFS, points, [0] * 3, 0, [1, 2])
    assert values[0].tolist() == pytest.approx(expected, rel=1e-13)

    def of_far_neighbour(offset):
        return sum(reference(functions, CUTOFFS, [*points[:2], points[2] + offset], [0] * 3, 0, [1, 2]))

    slopes = [(of_far_neighbour(step) - of_far_neighbour(-step)) / 2e-5 for step in 1e-5 * np.eye(3)]
    assert gradient[2].tolist() == pytest.approx(slopes, rel=1e-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"species": ()}, "cutoffs must be 0 x 0 numbers for 0 species, of which there must be one at least, got 1"),
        ({"cutoffs": ((3.0,), (3.0,))}, "cutoffs must be 1 x 1 numbers for 1 species, .* got 1 \\+ 1; give one for"),
        ({"cutoffs": ()}, "cutoffs must be 1 x 1 numbers for 1 species, .* got none; give one for each ordered pair"),
        ({"cutoffs": ((0.0,),)}, r"cutoffs must be positive and finite, got \(\(0.0,\),\)"),
        ({"cutoffs": ((math.inf,),)}, r"cutoffs must be positive and finite, got \(\(inf,\),\)"),
        (
            {"species": ("Si", "C"), "cutoffs": ((3.0, 2.0), (2.5, 3.0))},
            r"cutoffs must be symmetric, got .*2\.5, 3\.0.*; give both orders of a pair of species one cutoff",
        ),
        ({"functions": ()}, "there must be at least one symmetry function, got none"),
        ({"functions": (("g6", (1.0,)),)}, "symmetry function 1, g6, must be one of g1, g2, g3, g4, g5"),
        ({"functions": (("g2", (1.0,)),)}, r"symmetry function 1, g2, must have eta, Rs, all finite, got \(1.0,\)"),
        ({"functions": (("g1", (1.0,)),)}, r"function 1, g1, must have no numbers, all finite, got \(1.0,\)"),
        (
            {"functions": (("g1", ()), ("g3", (math.nan,)))},
            r"function 2, g3, must have kappa, all finite, got \(nan,\)",
        ),
        ({"functions": (("g2", (-1.0, 0.0)),)}, "function 1, g2, must have an `eta` of zero or more, got -1: it would"),
        (
            {"functions": (("g4", (0.0, 1.0, 1.0)),)},
            "g4, must have a `zeta` above zero and at most 10000, got 0; refit",
        ),
        (
            {"functions": (("g5", (1e300, 1.0, 1.0)),)},
            "g5, must have a `zeta` above zero and at most 10000, got 1e\\+300",
        ),
    ],
)
def test_parameters_are_checked(changes, message):
    parameters = {"species": ("Si",), "cutoffs": ((3.0,),), "functions": (("g1", ()),)}
    with pytest.raises(DriverError, match=message):
        SymmetryFunctionParameters(**(parameters | changes))


@pytest.mark.parametrize("zeta", [63, 64, 65, 1000, 9999.5, 10_000])
def test_sharp_angles(zeta):
    points = [[0, 0, 0], [1.5, 0, 0], [1.4, 0.2, 0.1], [-1.2, 0.9, 0.3]]
    functions = [("g5", (zeta, 1, 0.01)), ("g5", (zeta, -1, 0.01))]
    values, gradient = values_and_gradient(make(functions), all_pairs(points, centres=[0]), torch.ones(1, 2))
    expected = reference_of_g5(zeta, points)
    assert values[0].tolist() == pytest.approx(expected, rel=1e-11, abs=1e-300)
    assert torch.isfinite(gradient).all()


def reference_of_g5(zeta, points):
    """Sums over triplets for lambda 1 and -1 and an eta of 0.01; the two powers of the formula would overflow here."""
    vectors = [np.array(point) for point in points[1:]]
    totals = []
    for slope in (1, -1):
        total = 0.0
        for first, second in itertools.combinations(vectors, 2):
            r, s = np.linalg.norm(first), np.linalg.norm(second)
            power = ((1.0 + slope * (first @ second) / (r * s)) / 2.0) ** zeta
            total += 2.0 * power * math.exp(-0.01 * (r * r + s * s)) * fc(r, 3.0) * fc(s, 3.0)
        totals.append(total)
    return totals


MANY_ATOMS = """
import resource, sys
import torch
from kim_torchml.descriptors.base import Neighbourhoods
from kim_torchml.descriptors.symmetry_functions.descriptor import SymmetryFunctionParameters, SymmetryFunctions

torch.set_num_threads(1)
torch.manual_seed(0)
n, k, off_grid = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "off grid"
radial = [("g2", (0.05 * i, 0.0)) for i in range(8)]
if off_grid:
    angular = [("g5", (1 + 0.01 * i, 1.0, 0.001 + 0.001 * i)) for i in range(300)]
else:
    angular = [("g4", (2.0 ** (i % 4), (-1) ** (i // 4), 0.05 * (1 + i // 8))) for i in range(43)]
descriptor = SymmetryFunctions(SymmetryFunctionParameters(("Si",), ((9.0,),), (*radial, *angular)))
coordinates = torch.arange(n)[:, None] * torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64)
coordinates = (coordinates + torch.rand((n, 3), dtype=torch.float64) * 0.05).requires_grad_()
neighbours = (torch.arange(n)[:, None] + torch.arange(1, k + 1)) % n
# The libraries allocate memory of their own when they are first used.
torch.bmm(torch.ones(2, 200, 200), torch.ones(2, 200, 200))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
descriptor(
    Neighbourhoods(coordinates, torch.zeros(n).long(), torch.arange(n), torch.full((n,), k), neighbours.flatten())
).sum().backward()
assert coordinates.grad.isfinite().all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("n", "k", "grid"), [(10_000, 60, "on a grid"), (3000, 4, "off grid")])
def test_memory_is_bounded(n, k, grid):
    """10,000 particles with 60 neighbours and 51 functions; or 308 functions, no two with a common angle or width."""
    command = [sys.executable, "-c", MANY_ATOMS, str(n), str(k), grid]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 300
