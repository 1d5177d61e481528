# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bispectrum, compared with libdescriptor's values and with its definition, and its symmetries and limits."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import slow_bispectrum
import torch
from particles import spread
from surroundings import all_pairs, in_another_order, moved, on, relative_error, values_and_gradient

from kim_torchml.descriptors.bispectrum.descriptor import Bispectrum, BispectrumParameters
from kim_torchml.errors import DriverError

STRUCTURES = ("si8_periodic", "sic8_periodic", "sic32_cluster")
GOLDEN = ("2jmax4", "2jmax6", "2jmax4_diag0_noswitch")
ONE_SPECIES = BispectrumParameters(
    twojmax=4,
    rfac0=0.99363,
    rmin0=0.0,
    diagonalstyle=3,
    switch_flag=1,
    bzero_flag=0,
    weights=(0.8,),
    cutoffs=((3.0,),),
)
TWO_SPECIES = replace(ONE_SPECIES, weights=(1.0, 0.7), cutoffs=((3.0, 2.8), (2.6, 2.4)))


def with_gradient(descriptor, neighbourhoods):
    """The values, and the gradient of a fixed random combination of them."""
    shape = len(neighbourhoods.centres), descriptor.width
    return values_and_gradient(descriptor, neighbourhoods, np.random.default_rng(0).normal(size=shape))


def by_definition(parameters, coordinates, species_codes, centre):
    """The components of one centre, from Wigner matrices and Clebsch-Gordan coefficients."""
    others = [j for j in range(len(coordinates)) if j != centre]
    totals = slow_bispectrum.density(
        coordinates[others] - coordinates[centre],
        [parameters.weights[species_codes[j]] for j in others],
        [parameters.cutoffs[species_codes[centre]][species_codes[j]] for j in others],
        parameters.twojmax,
        parameters.rfac0,
        parameters.rmin0,
        parameters.switch_flag,
    )
    labels = slow_bispectrum.labels(parameters.twojmax, parameters.diagonalstyle)
    return np.array([slow_bispectrum.component(totals, *label) for label in labels])


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", GOLDEN)
def test_libdescriptor(golden, device, structure, kind):
    expected = golden(f"{structure}__bispectrum_{kind}")
    n_species = len(expected.species)
    parameters = replace(
        ONE_SPECIES,
        twojmax=int(kind[5]),
        weights=(1.0, 0.7)[:n_species],
        cutoffs=((expected.cutoff,) * n_species,) * n_species,
    )
    if kind.endswith("diag0_noswitch"):
        parameters = replace(parameters, rfac0=0.9, diagonalstyle=0, switch_flag=0)
    descriptor = Bispectrum(parameters, expected.species)
    values, gradient = values_and_gradient(
        descriptor, on(expected.neighbourhoods, torch.float64, device), expected.weights
    )
    assert relative_error(values.cpu(), expected.values) < 1e-12
    assert relative_error(gradient.cpu(), expected.gradient) < 1e-12


@pytest.mark.parametrize("twojmax", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("diagonalstyle", [0, 1, 2, 3])
def test_definition(twojmax, diagonalstyle):
    parameters = replace(ONE_SPECIES, twojmax=twojmax, diagonalstyle=diagonalstyle)
    coordinates, codes = spread(13, 3.2, 3), np.zeros(13, dtype=np.int64)
    descriptor = Bispectrum(parameters, ("Si",))
    found = descriptor(all_pairs(coordinates, centres=[4]))[0].numpy()
    expected = by_definition(parameters, coordinates, codes, 4)
    assert found.shape == (descriptor.width,)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"switch_flag": 0},
        {"rmin0": 1.3},
        {"rmin0": 1.3, "switch_flag": 0},
        {"rfac0": 0.6},
        {"weights": (-0.4, 2.5)},
        {"twojmax": 5, "diagonalstyle": 0},
    ],
)
def test_definition_with_two_species(changes):
    """Each ordered pair of species has its own cutoff, and some neighbours are closer than rmin0."""
    parameters = replace(TWO_SPECIES, **changes)
    coordinates, codes = spread(13, 3.2, 3), np.arange(13) % 2
    found = Bispectrum(parameters, ("Si", "C"))(all_pairs(coordinates, codes)).numpy()
    for centre in range(13):
        expected = by_definition(parameters, coordinates, codes, centre)
        np.testing.assert_allclose(found[centre], expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_bzero_is_twice_j():
    parameters = replace(ONE_SPECIES, diagonalstyle=0)
    surroundings = all_pairs(spread(13, 3.2, 3))
    plain = Bispectrum(parameters, ("Si",))(surroundings)
    without = Bispectrum(replace(parameters, bzero_flag=1), ("Si",))(surroundings)
    expected = [float(j) for _, _, j in slow_bispectrum.labels(4, 0)]
    torch.testing.assert_close(plain - without, torch.tensor([expected] * 13, dtype=torch.float64))


def test_bzero_leaves_what_is_zero_anyway():
    parameters = replace(ONE_SPECIES, diagonalstyle=2, bzero_flag=1)
    values = Bispectrum(parameters, ("Si",))(all_pairs(spread(13, 3.2, 3)))
    assert (values[:, 1::2] == 0.0).all()


def test_width_and_cutoff():
    widths = [Bispectrum(replace(TWO_SPECIES, diagonalstyle=style), ("Si", "C")).width for style in range(4)]
    assert widths == [27, 12, 5, 14]
    assert Bispectrum(TWO_SPECIES, ("Si", "C")).cutoff == 3.0
    assert Bispectrum(TWO_SPECIES, ("Si", "C")).species == ("Si", "C")


@pytest.mark.parametrize("changes", [{}, {"rmin0": 1.2}, {"switch_flag": 0}, {"twojmax": 1}, {"diagonalstyle": 0}])
def test_gradient(changes):
    descriptor = Bispectrum(replace(TWO_SPECIES, **changes), ("Si", "C"))
    surroundings = all_pairs(spread(7, 2.4, 3), np.arange(7) % 2, centres=[0, 2, 3, 6])
    coordinates = surroundings.coordinates.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: descriptor(moved(surroundings, x)), (coordinates,))


def test_gradient_of_gradient():
    """Fitting a network to forces needs it; autograd then does all the work."""
    descriptor = Bispectrum(replace(TWO_SPECIES, twojmax=2), ("Si", "C"))
    surroundings = all_pairs(spread(4, 1.6, 3), np.arange(4) % 2)
    coordinates = surroundings.coordinates.clone().requires_grad_()
    gradients = torch.linspace(-1, 1, 4 * descriptor.width, dtype=torch.float64).view(4, -1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: descriptor(moved(surroundings, x)), (coordinates,), (gradients,))
    values = descriptor(moved(surroundings, coordinates))
    (once,) = torch.autograd.grad((values * gradients).sum(), coordinates, retain_graph=True)
    (again,) = torch.autograd.grad((values * gradients).sum(), coordinates, create_graph=True)
    torch.testing.assert_close(again, once, rtol=1e-12, atol=1e-11)
    alone = torch.zeros((1, 3), dtype=torch.float64, requires_grad=True)
    values = descriptor(moved(all_pairs([[0.0, 0, 0]]), alone))
    assert torch.equal(torch.autograd.grad(values.sum(), alone, create_graph=True)[0], torch.zeros_like(alone))


def test_rotation_reflection_translation():
    coordinates, codes = spread(13, 3.2, 3), np.arange(13) % 2
    descriptor = Bispectrum(TWO_SPECIES, ("Si", "C"))
    values, gradient = with_gradient(descriptor, all_pairs(coordinates, codes))
    orthogonal, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    for turn in (orthogonal, -orthogonal):
        turned, turned_gradient = with_gradient(descriptor, all_pairs(coordinates @ turn + 5.0, codes))
        torch.testing.assert_close(turned, values, rtol=1e-12, atol=1e-11)
        torch.testing.assert_close(turned_gradient, gradient @ torch.from_numpy(turn), rtol=1e-10, atol=1e-10)


def test_order_of_particles_and_neighbours():
    descriptor = Bispectrum(TWO_SPECIES, ("Si", "C"))
    surroundings = all_pairs(spread(13, 3.2, 3), np.arange(13) % 2)
    shuffled, rows, particles = in_another_order(surroundings)
    weights = torch.linspace(-1, 1, 13 * descriptor.width).view(13, -1)
    values, gradient = values_and_gradient(descriptor, surroundings, weights)
    again, gradient_again = values_and_gradient(descriptor, shuffled, weights[rows.argsort()])
    torch.testing.assert_close(again[rows], values, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(gradient_again[particles], gradient, rtol=1e-11, atol=1e-10)


def test_order_of_species():
    coordinates, codes = spread(13, 3.2, 3), np.arange(13) % 2
    values = Bispectrum(TWO_SPECIES, ("Si", "C"))(all_pairs(coordinates, codes))
    swapped = replace(TWO_SPECIES, weights=(0.7, 1.0), cutoffs=((2.4, 2.6), (2.8, 3.0)))
    again = Bispectrum(swapped, ("C", "Si"))(all_pairs(coordinates, 1 - codes))
    torch.testing.assert_close(again, values, rtol=0, atol=0)


@pytest.mark.parametrize("switch_flag", [0, 1])
def test_nothing_from_beyond_the_cutoff(switch_flag):
    descriptor = Bispectrum(replace(ONE_SPECIES, switch_flag=switch_flag), ("Si",))
    near = np.array([[0.0, 0, 0], [1.1, 0.3, 0], [-0.4, 1.2, 0.8]])
    expected = descriptor(all_pairs(near, centres=[0]))
    for distance in (3.0, 3.0 + 1e-12, 3.5, 40.0):
        surroundings = all_pairs(np.vstack([near, [0.0, 0.0, distance]]), centres=[0])
        values, gradient = with_gradient(descriptor, surroundings)
        assert torch.equal(values, expected)
        assert torch.equal(gradient[3], torch.zeros(3, dtype=torch.float64))


def test_continuity_at_the_cutoff():
    descriptor = Bispectrum(ONE_SPECIES, ("Si",))
    near = np.array([[0.0, 0, 0], [1.1, 0.3, 0], [-0.4, 1.2, 0.8]])
    without = descriptor(all_pairs(near, centres=[0]))
    for step in (1e-3, 1e-5):
        surroundings = all_pairs(np.vstack([near, [0.0, 0.0, 3.0 - step]]), centres=[0])
        values, gradient = with_gradient(descriptor, surroundings)
        assert 0 < (values - without).abs().max() < 100 * step**2
        assert 0 < gradient[3].abs().max() < 1000 * step


def test_continuity_at_rmin0_where_degrees_are_even():
    """Below rmin0 a point becomes its antipode: odd degrees jump there, in libdescriptor too, even ones must not."""
    descriptor = Bispectrum(replace(ONE_SPECIES, rmin0=1.0, diagonalstyle=1), ("Si",))
    even = [all(part % 2 == 0 for part in label) for label in slow_bispectrum.labels(4, 1)]
    near = np.array([[0.0, 0, 0], [1.3, 0.3, 0]])
    below, at, above = (
        descriptor(all_pairs(np.vstack([near, [0.0, 0.0, r]]), centres=[0]))[0] for r in (1 - 1e-8, 1.0, 1 + 1e-8)
    )
    assert torch.isfinite(at).all()
    torch.testing.assert_close(at, above, rtol=0, atol=1e-5)
    torch.testing.assert_close(below[even], above[even], rtol=0, atol=1e-5)


def test_no_neighbour():
    descriptor = Bispectrum(ONE_SPECIES, ("Si",))
    expected = torch.tensor([[j + 1.0 for _, _, j in slow_bispectrum.labels(4, 3)]], dtype=torch.float64)
    values, gradient = with_gradient(descriptor, all_pairs([[0.0, 0, 0]]))
    torch.testing.assert_close(values, expected)
    assert torch.equal(gradient, torch.zeros((1, 3), dtype=torch.float64))
    among_others = np.vstack([spread(5, 3.2, 3), [50.0, 0, 0]])
    torch.testing.assert_close(descriptor(all_pairs(among_others))[5:], expected)


def test_no_centre():
    descriptor = Bispectrum(ONE_SPECIES, ("Si",))
    for coordinates in (spread(4, 3.2, 3), np.zeros((0, 3))):
        surroundings = all_pairs(coordinates, centres=np.zeros(0, dtype=np.int64))
        values, gradient = with_gradient(descriptor, surroundings)
        assert values.shape == (0, 14)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_150_neighbours():
    coordinates = spread(151, 5.4, 3)
    centre = int(np.linalg.norm(coordinates - 2.7, axis=1).argmin())
    parameters = replace(ONE_SPECIES, cutoffs=((6.0,),))
    assert (np.linalg.norm(coordinates - coordinates[centre], axis=1) < 6.0).all()
    found = Bispectrum(parameters, ("Si",))(all_pairs(coordinates, centres=[centre]))[0].numpy()
    expected = by_definition(parameters, coordinates, np.zeros(151, dtype=np.int64), centre)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_blocks_do_not_change_the_result():
    """Blocks of all centres, of some and of one; the centres have different numbers of neighbours."""
    coordinates = np.vstack([spread(40, 5.0, 3), [[30.0, 0, 0]]])
    surroundings = all_pairs(coordinates, np.arange(41) % 2)
    values, gradient = with_gradient(Bispectrum(TWO_SPECIES, ("Si", "C"), block_bytes=2**30), surroundings)
    for block_bytes in (1, 10**6):
        descriptor = Bispectrum(TWO_SPECIES, ("Si", "C"), block_bytes=block_bytes)
        again, gradient_again = with_gradient(descriptor, surroundings)
        torch.testing.assert_close(again, values, rtol=1e-13, atol=1e-12)
        torch.testing.assert_close(gradient_again, gradient, rtol=1e-11, atol=1e-11)


def test_single_precision(device):
    surroundings = all_pairs(spread(13, 3.2, 3), np.arange(13) % 2)
    descriptor = Bispectrum(TWO_SPECIES, ("Si", "C"))
    expected = with_gradient(descriptor, surroundings)
    single = on(surroundings, torch.float32, device)
    for found, reference in zip(with_gradient(descriptor, single), expected, strict=True):
        assert found.dtype == torch.float32
        assert found.device == device
        torch.testing.assert_close(found.cpu().double(), reference, rtol=0, atol=1e-5 * float(reference.abs().max()))


def test_default_dtype_does_not_matter():
    surroundings = all_pairs(spread(5, 3.2, 3), dtype=torch.float32)
    values, gradient = with_gradient(Bispectrum(ONE_SPECIES, ("Si",)), surroundings)
    torch.set_default_dtype(torch.float64)
    try:
        again, gradient_again = with_gradient(Bispectrum(ONE_SPECIES, ("Si",)), surroundings)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(again, values)
    assert torch.equal(gradient_again, gradient)


def test_two_particles_at_the_same_place():
    coordinates = spread(6, 3.2, 3)
    coordinates[4] = coordinates[1]
    with pytest.raises(DriverError, match=r"particles 1 and 4 .* are at the same place"):
        Bispectrum(ONE_SPECIES, ("Si",))(all_pairs(coordinates))


def test_a_coordinate_that_is_not_a_number_shows():
    coordinates = spread(6, 3.2, 3)
    coordinates[4, 1] = np.nan
    values = Bispectrum(ONE_SPECIES, ("Si",))(all_pairs(coordinates))
    assert values.isnan().any(dim=1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"twojmax": -1}, "twojmax must be an integer from 0 to 20, got -1"),
        ({"twojmax": 21}, "twojmax must be an integer from 0 to 20, got 21"),
        ({"diagonalstyle": 4}, "diagonalstyle must be an integer from 0 to 3, got 4"),
        ({"switch_flag": 2}, "switch_flag must be an integer from 0 to 1, got 2"),
        ({"bzero_flag": -1}, "bzero_flag must be an integer from 0 to 1, got -1"),
        ({"weights": (1.0,)}, r"cutoffs must be 1 x 1 numbers, there being 1 weights, got 2 \+ 2; give one for each"),
        ({"cutoffs": ()}, "cutoffs must be 2 x 2 numbers, there being 2 weights, got none"),
        ({"cutoffs": ((3.0, 2.0), (0.0, 1.0))}, "cutoffs must be positive and finite, got .*0.0"),
        ({"cutoffs": ((3.0, 2.0), (float("nan"), 1.0))}, "cutoffs must be positive and finite, got .*nan"),
        ({"weights": (1.0, float("inf"))}, "weights must be finite, got .*inf"),
        ({"rfac0": 0.0}, "rfac0 must be positive, got 0.0"),
        ({"rmin0": 2.4}, "rmin0 must be below the smallest cutoff, 2.4 Å, got 2.4"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(DriverError, match=message):
        replace(TWO_SPECIES, **changes)


def test_number_of_species_is_checked():
    with pytest.raises(DriverError, match="parameters are for 2 species, got 1: Si; give one weight for each"):
        Bispectrum(TWO_SPECIES, ("Si",))


MANY_ATOMS = """
import resource
import torch
from kim_torchml.descriptors.base import Neighbourhoods
from kim_torchml.descriptors.bispectrum.descriptor import Bispectrum, BispectrumParameters

torch.set_num_threads(1)
torch.manual_seed(0)
descriptor = Bispectrum(BispectrumParameters(6, 0.99363, 0.0, 3, 1, 0, (1.0,), ((9.0,),)), ("Si",))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n, k = 10000, 60
coordinates = torch.arange(n)[:, None] * torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64)
coordinates = (coordinates + torch.rand((n, 3), dtype=torch.float64) * 0.05).requires_grad_()
neighbours = (torch.arange(n)[:, None] + torch.arange(1, k + 1)) % n
surroundings = Neighbourhoods(
    coordinates, torch.zeros(n, dtype=torch.int64), torch.arange(n), torch.full((n,), k), neighbours.flatten()
)
descriptor(surroundings).sum().backward()
assert coordinates.grad.isfinite().all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded():
    """10,000 particles with 60 neighbours each take far less than the 2 GB promised."""
    done = subprocess.run([sys.executable, "-c", MANY_ATOMS], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 300
