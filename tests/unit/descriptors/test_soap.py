# SPDX-License-Identifier: LGPL-2.1-or-later
"""SOAP against libdescriptor's numbers, against its definition, and against what must hold of it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import slow_soap
import torch
from particles import spread
from surroundings import all_pairs, in_another_order, moved, on, relative_error, values_and_gradient

from kim_torchml.descriptors.soap.descriptor import Soap, SoapParameters
from kim_torchml.errors import DriverError

STRUCTURES = ("si8_periodic", "sic8_periodic", "sic32_cluster")
ONE_SPECIES = SoapParameters(n_max=3, l_max=3, cutoff=3.0, eta=1.0, radial_basis="polynomial", species=("Si",))
TWO_SPECIES = replace(ONE_SPECIES, species=("Si", "C"))


def with_gradient(descriptor, neighbourhoods):
    """The values, and the gradient of a fixed random combination of them."""
    shape = len(neighbourhoods.centres), descriptor.width
    return values_and_gradient(descriptor, neighbourhoods, np.random.default_rng(0).normal(size=shape))


def by_definition(parameters, coordinates, species_codes, centre):
    """The power spectrum of one centre, from integrals and complex spherical harmonics."""
    others = [j for j in range(len(coordinates)) if j != centre]
    return slow_soap.power_spectrum(parameters, coordinates[others] - coordinates[centre], species_codes[others])


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("kind", "changes"), [("n3_l3", (3, 3, 1.0)), ("n4_l2_eta0.5", (4, 2, 0.5))])
def test_libdescriptor(golden, device, structure, kind, changes):
    expected = golden(f"{structure}__soap_{kind}")
    n_max, l_max, eta = changes
    descriptor = Soap(SoapParameters(n_max, l_max, expected.cutoff, eta, "polynomial", expected.species))
    values, gradient = values_and_gradient(
        descriptor, on(expected.neighbourhoods, torch.float64, device), expected.weights
    )
    assert relative_error(values.cpu(), expected.values) < 1e-11
    assert relative_error(gradient.cpu(), expected.gradient) < 1e-11


@pytest.mark.parametrize(
    "parameters",
    [
        ONE_SPECIES,
        replace(ONE_SPECIES, n_max=1, l_max=0),
        replace(ONE_SPECIES, n_max=2, l_max=6, eta=0.3),
        TWO_SPECIES,
        replace(ONE_SPECIES, l_max=1, eta=5.0, species=("Si", "C", "O")),
        replace(TWO_SPECIES, neighbour_cutoff=2.3),
        replace(ONE_SPECIES, cutoff=2.0, neighbour_cutoff=3.0),
    ],
)
def test_definition(parameters):
    """The density of a species contains those of the species before it, as libdescriptor's values show."""
    coordinates, codes = spread(9, 2.8, 3), np.arange(9) % len(parameters.species)
    descriptor = Soap(parameters)
    found = descriptor(all_pairs(coordinates, codes)).numpy()
    for centre in (0, 4):
        expected = by_definition(parameters, coordinates, codes, centre)
        assert found[centre].shape == expected.shape == (descriptor.width,)
        np.testing.assert_allclose(found[centre], expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_width_species_and_cutoff():
    descriptor = Soap(replace(TWO_SPECIES, n_max=4, l_max=2))
    assert descriptor.width == 3 * 10 * 3
    assert descriptor.species == ("Si", "C")
    assert descriptor.cutoff == 3.0
    assert Soap(replace(TWO_SPECIES, neighbour_cutoff=2.5)).cutoff == 2.5


@pytest.mark.parametrize(
    "parameters",
    [
        ONE_SPECIES,
        TWO_SPECIES,
        replace(TWO_SPECIES, l_max=0),
        replace(TWO_SPECIES, n_max=1),
        replace(ONE_SPECIES, neighbour_cutoff=2.0),
        replace(ONE_SPECIES, cutoff=2.0, neighbour_cutoff=3.0),
    ],
)
def test_gradient(parameters):
    descriptor = Soap(parameters)
    codes = np.arange(7) % len(parameters.species)
    surroundings = all_pairs(spread(7, 2.4, 3), codes, centres=[0, 2, 3, 6])
    coordinates = surroundings.coordinates.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: descriptor(moved(surroundings, x)), (coordinates,))


def test_gradient_at_the_poles():
    """Some neighbours are on the z axis, where the azimuth is not defined."""
    descriptor = Soap(ONE_SPECIES)
    surroundings = all_pairs([[0.0, 0, 0], [0, 0, 1.2], [0, 0, -1.5], [1.1, 0, 0], [0, 1.3, 0.2]], centres=[0])
    coordinates = surroundings.coordinates.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: descriptor(moved(surroundings, x)), (coordinates,))


def test_gradient_of_gradient():
    """Fitting a network to forces needs it; autograd then does all the work."""
    descriptor = Soap(replace(TWO_SPECIES, n_max=2, l_max=2))
    surroundings = all_pairs(spread(4, 1.6, 3), np.arange(4) % 2)
    coordinates = surroundings.coordinates.clone().requires_grad_()
    weights = torch.linspace(-1, 1, 4 * descriptor.width, dtype=torch.float64).view(4, -1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: descriptor(moved(surroundings, x)), (coordinates,), (weights,))
    values = descriptor(moved(surroundings, coordinates))
    (once,) = torch.autograd.grad((values * weights).sum(), coordinates, retain_graph=True)
    (again,) = torch.autograd.grad((values * weights).sum(), coordinates, create_graph=True)
    torch.testing.assert_close(again, once, rtol=1e-12, atol=1e-12)
    alone = torch.zeros((1, 3), dtype=torch.float64, requires_grad=True)
    values = descriptor(moved(all_pairs([[0.0, 0, 0]]), alone))
    assert torch.equal(torch.autograd.grad(values.sum(), alone, create_graph=True)[0], torch.zeros_like(alone))


def test_rotation_reflection_translation():
    coordinates, codes = spread(13, 3.2, 3), np.arange(13) % 2
    descriptor = Soap(TWO_SPECIES)
    values, gradient = with_gradient(descriptor, all_pairs(coordinates, codes))
    orthogonal, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    for turn in (orthogonal, -orthogonal):
        turned, turned_gradient = with_gradient(descriptor, all_pairs(coordinates @ turn + 5.0, codes))
        assert relative_error(turned, values) < 1e-12
        assert relative_error(turned_gradient, gradient @ torch.from_numpy(turn)) < 1e-12


def test_order_of_particles_and_neighbours():
    descriptor = Soap(TWO_SPECIES)
    surroundings = all_pairs(spread(13, 3.2, 3), np.arange(13) % 2)
    shuffled, rows, particles = in_another_order(surroundings)
    weights = torch.linspace(-1, 1, 13 * descriptor.width).view(13, -1)
    values, gradient = values_and_gradient(descriptor, surroundings, weights)
    again, gradient_again = values_and_gradient(descriptor, shuffled, weights[rows.argsort()])
    assert relative_error(again[rows], values) < 1e-12
    assert relative_error(gradient_again[particles], gradient) < 1e-12


def test_centres_among_other_particles():
    coordinates, codes = spread(13, 3.2, 3), np.arange(13) % 2
    descriptor = Soap(TWO_SPECIES)
    everyone = descriptor(all_pairs(coordinates, codes))
    some = descriptor(all_pairs(coordinates, codes, centres=[2, 7, 11]))
    torch.testing.assert_close(some, everyone[[2, 7, 11]], rtol=1e-12, atol=1e-12)


def test_a_species_that_is_not_there_changes_only_the_columns():
    """With particles of one species, its columns are those of a descriptor for that species alone."""
    coordinates = spread(9, 2.8, 3)
    alone = Soap(ONE_SPECIES)(all_pairs(coordinates))
    together = Soap(TWO_SPECIES)(all_pairs(coordinates))
    assert together.shape == (9, 3 * alone.shape[1])
    torch.testing.assert_close(together, alone.repeat(1, 3), rtol=1e-12, atol=1e-12)
    second = Soap(TWO_SPECIES)(all_pairs(coordinates, np.ones(9)))
    torch.testing.assert_close(second[:, -alone.shape[1] :], alone, rtol=1e-12, atol=1e-12)
    assert (second[:, : -alone.shape[1]] == 0.0).all()


@pytest.mark.parametrize("cutoff", [2.5, 3.0, 4.0])
def test_nothing_from_the_cutoff_on(cutoff):
    """The cutoff of the neighbours decides; that of the radial functions may be shorter or longer."""
    descriptor = Soap(replace(ONE_SPECIES, cutoff=cutoff, neighbour_cutoff=3.0))
    assert (descriptor(all_pairs([[0.0, 0, 0], [2.99, 0, 0]])) != 0.0).any()
    near = np.array([[0.0, 0, 0], [1.1, 0.3, 0], [-0.4, 1.2, 0.8]])
    expected = descriptor(all_pairs(near, centres=[0]))
    for distance in (3.0, 3.0 + 1e-12, 3.5, 40.0):
        surroundings = all_pairs(np.vstack([near, [0.0, 0.0, distance]]), centres=[0])
        values, gradient = with_gradient(descriptor, surroundings)
        assert torch.equal(values, expected)
        assert torch.equal(gradient[3], torch.zeros(3, dtype=torch.float64))


def test_jump_at_the_cutoff():
    """As in libdescriptor, no function fades neighbours out, so that their contribution stops at the cutoff."""
    descriptor = Soap(ONE_SPECIES)
    near = np.array([[0.0, 0, 0], [1.1, 0.3, 0], [-0.4, 1.2, 0.8]])
    without = descriptor(all_pairs(near, centres=[0]))[0]
    inside = np.vstack([near, [0.0, 0.0, 3.0 - 1e-9]])
    found = descriptor(all_pairs(inside, centres=[0]))[0]
    assert 1e-3 < relative_error(found, without) < 0.5
    expected = by_definition(ONE_SPECIES, inside, np.zeros(4, dtype=np.int64), 0)
    assert relative_error(found, expected) < 1e-11


def test_no_neighbour():
    values, gradient = with_gradient(Soap(TWO_SPECIES), all_pairs([[0.0, 0, 0]]))
    assert torch.equal(values, torch.zeros((1, 72), dtype=torch.float64))
    assert torch.equal(gradient, torch.zeros((1, 3), dtype=torch.float64))
    among_others = np.vstack([spread(5, 3.2, 3), [50.0, 0, 0]])
    values, gradient = with_gradient(Soap(TWO_SPECIES), all_pairs(among_others))
    assert (values[5] == 0.0).all()
    assert (gradient[5] == 0.0).all()
    assert (values[:5, :24] != 0.0).all()


def test_no_centre():
    for coordinates in (spread(4, 3.2, 3), np.zeros((0, 3))):
        surroundings = all_pairs(coordinates, centres=np.zeros(0, dtype=np.int64))
        values, gradient = with_gradient(Soap(TWO_SPECIES), surroundings)
        assert values.shape == (0, 72)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_150_neighbours():
    coordinates = spread(151, 5.4, 3)
    centre = int(np.linalg.norm(coordinates - 2.7, axis=1).argmin())
    parameters = replace(ONE_SPECIES, n_max=2, l_max=2, cutoff=6.0)
    assert (np.linalg.norm(coordinates - coordinates[centre], axis=1) < 6.0).all()
    found = Soap(parameters)(all_pairs(coordinates, centres=[centre]))[0].numpy()
    expected = by_definition(parameters, coordinates, np.zeros(151, dtype=np.int64), centre)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_blocks_do_not_change_the_result():
    """Blocks of all centres, of some and of one; the centres have different numbers of neighbours."""
    coordinates = np.vstack([spread(40, 5.0, 3), [[30.0, 0, 0]]])
    surroundings = all_pairs(coordinates, np.arange(41) % 2)
    values, gradient = with_gradient(Soap(TWO_SPECIES, block_bytes=2**30), surroundings)
    for block_bytes in (1, 10**5):
        again, gradient_again = with_gradient(Soap(TWO_SPECIES, block_bytes=block_bytes), surroundings)
        assert relative_error(again, values) < 1e-14
        assert relative_error(gradient_again, gradient) < 1e-13


def test_single_precision(device):
    surroundings = all_pairs(spread(13, 3.2, 3), np.arange(13) % 2)
    descriptor = Soap(TWO_SPECIES)
    expected = with_gradient(descriptor, surroundings)
    single = on(surroundings, torch.float32, device)
    for found, reference in zip(with_gradient(descriptor, single), expected, strict=True):
        assert found.dtype == torch.float32
        assert found.device == device
        assert relative_error(found.cpu().double(), reference) < 1e-5


def test_default_dtype_does_not_matter():
    surroundings = all_pairs(spread(5, 3.2, 3), dtype=torch.float32)
    values, gradient = with_gradient(Soap(ONE_SPECIES), surroundings)
    torch.set_default_dtype(torch.float64)
    try:
        again, gradient_again = with_gradient(Soap(ONE_SPECIES), surroundings)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(again, values)
    assert torch.equal(gradient_again, gradient)


def test_two_particles_at_the_same_place():
    coordinates = spread(6, 3.2, 3)
    coordinates[4] = coordinates[1]
    with pytest.raises(DriverError, match=r"particles 1 and 4 .* are at the same place"):
        Soap(ONE_SPECIES)(all_pairs(coordinates))


def test_a_coordinate_that_is_not_a_number_shows():
    coordinates = spread(6, 3.2, 3)
    coordinates[4, 1] = np.nan
    values = Soap(ONE_SPECIES)(all_pairs(coordinates))
    assert values.isnan().any(dim=1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_max": 0}, "`n_max` must be an integer from 1 to 16, got 0"),
        ({"n_max": 17}, "`n_max` must be an integer from 1 to 16, got 17"),
        ({"l_max": -1}, "`l_max` must be an integer from 0 to 16, got -1"),
        ({"cutoff": 0.0}, "`cutoff` must be from 0.01 to 1000 Å, got 0"),
        ({"cutoff": 1e50}, "`cutoff` must be from 0.01 to 1000 Å, got 1e"),
        ({"cutoff": float("inf")}, "`cutoff` must be from 0.01 to 1000 Å, got inf"),
        ({"neighbour_cutoff": float("nan")}, "`neighbour_cutoff` must be from 0.01 to 1000 Å, got nan"),
        ({"eta": float("nan")}, "`eta` must be positive and finite, got nan"),
        ({"radial_basis": "gto"}, "`radial_basis` must be 'polynomial', got 'gto'; refit the model with it"),
        ({"species": ()}, "`species` must be at least one, each named once, got none"),
        ({"species": ("Si", "C", "Si")}, "`species` must be at least one, each named once, got Si C Si"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(DriverError, match=message):
        replace(TWO_SPECIES, **changes)


def test_gaussians_too_narrow():
    with pytest.raises(DriverError, match=r"`eta` must be at most 1111.11 1/Å² with a cutoff of 3.0 Å, got 1200.0"):
        Soap(replace(ONE_SPECIES, eta=1200.0))


MANY_ATOMS = """
import resource
import torch
from kim_torchml.descriptors.base import Neighbourhoods
from kim_torchml.descriptors.soap.descriptor import Soap, SoapParameters

torch.set_num_threads(1)
torch.manual_seed(0)
descriptor = Soap(SoapParameters(4, 4, 9.0, 1.0, "polynomial", ("Si", "C")))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n, k = 10000, 60
coordinates = torch.arange(n)[:, None] * torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64)
coordinates = (coordinates + torch.rand((n, 3), dtype=torch.float64) * 0.05).requires_grad_()
neighbours = (torch.arange(n)[:, None] + torch.arange(1, k + 1)) % n
surroundings = Neighbourhoods(
    coordinates, torch.arange(n) % 2, torch.arange(n), torch.full((n,), k), neighbours.flatten()
)
descriptor(surroundings).sum().backward()
assert coordinates.grad.isfinite().all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded():
    """10,000 particles with 60 neighbours each take far less than the 2 GB promised."""
    done = subprocess.run([sys.executable, "-c", MANY_ATOMS], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 300
