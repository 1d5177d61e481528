# SPDX-License-Identifier: LGPL-2.1-or-later
"""Preprocessing Descriptor, through Model: energies, forces and the order of particles."""

import io

import numpy as np
import pytest
import torch
from opening import SHAPES, compute, energy, parameter_text, slope
from particles import Configuration, cluster, interleaved
from torch import nn

from kim_torchml.driver import open_model
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.model_folder import read_model_folder

CUTOFF = 3.0

# g2 and g4 for two species, with cutoffs that differ, and a normalisation of the four columns.
SYMMETRY_FUNCTIONS = """\
cos
2
Si Si 3.0
Si C 2.8
C Si 2.8
C C 2.5
2
g2 2 2
0.1 0.0
0.5 1.0
g4 2 3
1 -1 0.01
2 1 0.05
center_and_normalize True
4
1.0
2.0
"""


class OfContributing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weights = nn.Parameter(torch.rand(4, generator=generator, dtype=torch.float64))

    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        return torch.tanh(descriptors @ self.weights)


class Total(OfContributing):
    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        return torch.tanh(descriptors @ self.weights).sum()


@pytest.fixture
def opened(tmp_path, monkeypatch, device):
    """Return a function that opens a descriptor model of two species."""
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", str(device))

    def function(kind=OfContributing, text=SYMMETRY_FUNCTIONS, descriptor="SymmetryFunctions", cutoff=CUTOFF):
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(kind()), buffer)
        (tmp_path / "model.pt").write_bytes(buffer.getvalue())
        (tmp_path / "kim.dat").write_text(text)
        parameters = {"kind": "Descriptor", "elements": ("Si", "C"), "cutoff": cutoff, "descriptor": descriptor}
        (tmp_path / "kim.param").write_text(parameter_text(**parameters))
        model = open_model(str(tmp_path), ["kim.param", "model.pt", "kim.dat"])
        model.prepare()
        return model

    return function


def test_forces_are_minus_the_slope_of_the_energy(opened):
    model = opened()
    particles = cluster(n=10, n_contributing=6, n_species=2)
    forces = compute(model, particles)["partialForces"]
    expected = slope(lambda coordinates: energy(model, particles.moved(coordinates)), particles.coordinates)
    np.testing.assert_allclose(forces, expected, atol=1e-7, rtol=0)
    assert np.abs(forces).max() > 0.01


def test_particle_energies_sum_to_the_energy_and_forces_to_zero(opened):
    found = compute(opened(), cluster(n=12, n_contributing=5, n_species=2))
    assert found["partialParticleEnergy"].sum() == pytest.approx(found["partialEnergy"][0], abs=1e-12)
    assert (found["partialParticleEnergy"] != 0.0).sum() == 5
    np.testing.assert_allclose(found["partialForces"].sum(axis=0), 0.0, atol=1e-12)


def test_the_order_of_particles_does_not_matter(opened):
    model = opened()
    particles = cluster(n=12, n_contributing=5, n_species=2)
    first, mixed = particles, interleaved(particles)
    row = [int(np.flatnonzero((mixed.coordinates == place).all(axis=1))[0]) for place in first.coordinates]
    found, again = compute(model, first), compute(model, mixed)
    assert again["partialEnergy"][0] == pytest.approx(found["partialEnergy"][0], abs=1e-12)
    for name in ("partialForces", "partialParticleEnergy"):
        np.testing.assert_allclose(again[name][row], found[name], atol=1e-12)


def test_a_model_that_gives_only_a_total(opened):
    model = opened(Total)
    assert model.prepare() == set(SHAPES) - {"partialParticleEnergy"}
    particles = cluster(n=8, n_species=2)
    expected = compute(opened(), particles)["partialEnergy"]
    np.testing.assert_allclose(compute(model, particles, ["partialEnergy"])["partialEnergy"], expected)


class Counting:
    """Neighbours that count how often they are asked for."""

    def __init__(self, neighbours):
        self.neighbours = neighbours
        self.asked = 0

    def of_contributing(self, cutoff):
        self.asked += 1
        return self.neighbours.of_contributing(cutoff)


@pytest.mark.parametrize("outputs", [list(SHAPES), ["partialParticleVirial"], ["partialEnergy"]])
def test_neighbour_lists_are_fetched_once_whatever_is_asked_for(opened, outputs):
    model, particles = opened(), cluster(n=8, n_species=2)
    counting = Counting(particles.neighbours())
    arrays = {name: np.zeros(SHAPES[name](8)) for name in outputs}
    model.compute(particles.coordinates, particles.species_codes, particles.contributing, counting, arrays)
    assert counting.asked == 1


def test_one_particle_alone_has_no_forces(opened):
    found = compute(opened(), Configuration([[0, 0, 0]], [1], [1]))
    # All functions are 0, so each of the four inputs of the network is (0 - 1) / 2.
    weights = OfContributing().weights.detach().numpy()
    assert found["partialEnergy"][0] == pytest.approx(float(np.tanh(-0.5 * weights.sum())))
    np.testing.assert_array_equal(found["partialForces"], np.zeros((1, 3)))


def test_no_contributing_particle_gives_zeros(opened):
    found = compute(opened(), Configuration([[0, 0, 0], [1, 1, 1]], [0, 1], [0, 0]))
    for values in found.values():
        assert not values.any()


def test_two_particles_at_the_same_place(opened):
    model = opened()
    with pytest.raises(DriverError, match=r"particles 0 and 1 .*same place"):
        compute(model, Configuration([[1, 1, 1], [1, 1, 1], [2, 2, 2]], [0, 0, 1], [1, 1, 1]))


def test_a_cutoff_that_is_not_the_parameter_files(opened):
    with pytest.raises(DriverError, match=r"3\.5.*kim\.dat"):
        opened(cutoff=3.5)


def test_a_network_of_another_width_names_both_sides(opened):
    fewer = SYMMETRY_FUNCTIONS.split("2\ng2")[0] + "1\ng2 1 2\n0.1 0.0\n"
    message = (
        r"^the model in model\.pt raised an error: .*4.*; the descriptor in kim\.dat has 1 column \(found by a probe"
    )
    with pytest.raises(DriverError, match=message):
        opened(text=fewer)


def test_description_names_the_width(opened, tmp_path):
    opened()
    files = read_model_folder(tmp_path, ["kim.param", "model.pt", "kim.dat"], FILE_FORMATS)
    assert make_inputs(files).description == "the descriptor in kim.dat has 4 columns"


def test_a_descriptor_that_is_not_there(opened):
    message = r"`descriptor` must be one that this version computes .* got 'ACSF'"
    with pytest.raises(DriverError, match=message):
        opened(descriptor="ACSF")
