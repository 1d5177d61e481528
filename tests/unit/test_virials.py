# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virials are compared with the derivative of the energy by a strain, and with closed formulas by pair."""

import numpy as np
import pytest
import torch
from models import PARAMETERS, script_bytes
from opening import compute, energy, open_model, parameter_text
from particles import Configuration, cluster, interleaved
from torch import nn

from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.evaluation.virials import virial_of_forces, virials_of_pairs

KINDS = pytest.mark.parametrize("kind", PARAMETERS, ids=[kind.__name__ for kind in PARAMETERS])
# The order in which KIM has the entries of a symmetric tensor.
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (2, 0), (0, 1)]
CUTOFF = 3.0
ETA = 0.4
PAIRS = "".join(f"{pair} {CUTOFF}\n" for pair in ("Si Si", "Si C", "C Si", "C C"))
G2 = f"cos\n2\n{PAIRS}1\ng2 1 2\n{ETA} 0.0\ncenter_and_normalize False\n"
G2_AND_G4 = G2.replace("\n1\ng2 1 2", "\n2\ng2 1 2").replace("center", "g4 2 3\n1 -1 0.01\n2 1 0.05\ncenter")


class SumOfDescriptors(nn.Module):
    """A model that returns, for each contributing particle, 0.3 times the sum of its descriptor."""

    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        return 0.3 * descriptors.sum(dim=1)


@pytest.fixture
def described(tmp_path, device, monkeypatch):
    """Return a function that opens a model of symmetry functions for two species."""
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", str(device))

    def function(text):
        (tmp_path / "model.pt").write_bytes(script_bytes(SumOfDescriptors))
        (tmp_path / "kim.dat").write_text(text)
        parameters = {"kind": "Descriptor", "elements": ("Si", "C"), "descriptor": "SymmetryFunctions"}
        (tmp_path / "kim.param").write_text(parameter_text(cutoff=CUTOFF, **parameters))
        model = open_by_driver(str(tmp_path), ["kim.param", "model.pt", "kim.dat"])
        model.prepare()
        return model

    return function


def strain_derivative(model, configuration, step=1e-4):
    """Return dE/d strain in Voigt order, by central differences of fourth order."""
    result = np.zeros(6)
    for place, (a, b) in enumerate(VOIGT):

        def at(multiple, a=a, b=b):
            strain = np.eye(3)
            strain[a, b] += 0.5 * multiple * step
            strain[b, a] += 0.5 * multiple * step
            return energy(model, configuration.moved(configuration.coordinates @ strain))

        result[place] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
    return result


@KINDS
@pytest.mark.parametrize("n_contributing", [9, 5])
def test_the_virial_is_the_derivative_by_a_strain(kind, n_contributing, opened):
    model = opened(script_bytes(kind), elements=("Si", "C", "O"), **PARAMETERS[kind])
    configuration = interleaved(cluster(9, 3.0, n_contributing=n_contributing, n_species=3))
    virial = compute(model, configuration, ["partialVirial"])["partialVirial"]
    np.testing.assert_allclose(virial, strain_derivative(model, configuration), atol=1e-9)
    assert np.abs(virial).max() > 0.01


def test_the_virial_does_not_change_with_the_origin(opened):
    kind = next(iter(PARAMETERS))
    model = opened(script_bytes(kind), **PARAMETERS[kind])
    here = cluster(9, 3.0, n_contributing=5)
    there = here.moved(here.coordinates + np.array([30.0, -20.0, 10.0]))
    expected = compute(model, here, ["partialVirial"])["partialVirial"]
    np.testing.assert_allclose(compute(model, there, ["partialVirial"])["partialVirial"], expected, atol=1e-11)


@pytest.mark.parametrize("text", [G2, G2_AND_G4])
def test_virials_of_particles_sum_to_the_virial(text, described):
    model = described(text)
    configuration = interleaved(cluster(10, 3.2, n_contributing=6, n_species=2))
    found = compute(model, configuration, ["partialVirial", "partialParticleVirial"])
    np.testing.assert_allclose(found["partialParticleVirial"].sum(axis=0), found["partialVirial"], atol=1e-12)
    np.testing.assert_allclose(found["partialVirial"], strain_derivative(model, configuration), atol=1e-9)
    assert (np.abs(found["partialParticleVirial"]).max(axis=1) > 1e-6).all()


def test_virials_of_particles_in_a_pair_potential(described):
    """With E_i = 0.3 sum_j g2(r_ij), a pair has dE_i/dr r (x) r / r from each contributing end i, half for each end."""
    configuration = interleaved(cluster(8, 3.0, n_contributing=5, n_species=2))
    points, n = configuration.coordinates, len(configuration)
    expected = np.zeros((n, 6))
    for i in np.flatnonzero(configuration.contributing):
        for j in range(n):
            vector = points[j] - points[i]
            r = np.linalg.norm(vector)
            if j == i or r >= CUTOFF:
                continue
            fade = 0.5 * (np.cos(np.pi * r / CUTOFF) + 1)
            slope = -0.5 * np.pi / CUTOFF * np.sin(np.pi * r / CUTOFF)
            derivative = 0.3 * np.exp(-ETA * r**2) * (slope - 2 * ETA * r * fade)
            share = 0.5 * derivative / r * np.array([vector[a] * vector[b] for a, b in VOIGT])
            expected[i] += share
            expected[j] += share
    found = compute(described(G2), configuration, ["partialParticleVirial"])["partialParticleVirial"]
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_asking_for_virials_of_particles_changes_nothing_else(described):
    model = described(G2_AND_G4)
    configuration = interleaved(cluster(10, 3.2, n_contributing=6, n_species=2))
    names = ["partialEnergy", "partialForces", "partialParticleEnergy", "partialVirial"]
    without = compute(model, configuration, names)
    together = compute(model, configuration, [*names, "partialParticleVirial"])
    for name in names:
        np.testing.assert_array_equal(together[name], without[name], err_msg=name)


def test_particles_without_neighbours_have_no_virial(described):
    model = described(G2_AND_G4)
    for n in (1, 3):
        configuration = Configuration(9.0 * np.arange(3 * n).reshape(n, 3), [0] * n, [1] * n)
        found = compute(model, configuration, ["partialVirial", "partialParticleVirial"])
        assert not any(array.any() for array in found.values())


def test_signs_and_order():
    """Two particles pull at each other along (1, 2, 3)."""
    vector = np.array([1.0, 2.0, 3.0])
    virial = virial_of_forces(np.array([[0.0, 0, 0], vector]), np.array([vector, -vector]))
    np.testing.assert_allclose(virial, [1.0, 4.0, 9.0, 6.0, 3.0, 2.0])
    of_pair = torch.tensor(vector[None])
    shares = virials_of_pairs(of_pair, of_pair, torch.tensor([2]), torch.tensor([0]), 3)
    np.testing.assert_allclose(shares, 0.5 * np.array([virial, 0 * virial, virial]))


def test_a_virial_that_is_not_symmetric_is_made_so():
    """Such a virial comes from an energy that changes when all particles are rotated together."""
    virial = virial_of_forces(np.array([[0.0, 2.0, 0.0]]), np.array([[3.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(virial, [0.0, 0.0, 0.0, 0.0, 0.0, -3.0])


def test_float32_models_have_virials_too(opened, tmp_path):
    kind = next(iter(PARAMETERS))
    configuration = cluster(9, 3.0, n_contributing=5)
    double = compute(opened(script_bytes(kind), **PARAMETERS[kind]), configuration, ["partialVirial"])
    single = open_model(tmp_path / "single", script_bytes(kind, torch.float32), **PARAMETERS[kind])
    found = compute(single, configuration, ["partialVirial"])["partialVirial"]
    np.testing.assert_allclose(found, double["partialVirial"], rtol=1e-4)
