# SPDX-License-Identifier: LGPL-2.1-or-later
"""Energies, particle energies and forces against closed formulas and finite differences, for every kind of model."""

import numpy as np
import pytest
import torch
from formulas import pair_energies, particle_energies
from models import PARAMETERS, PairOfAll, script_bytes
from opening import assert_close, compute, energy, open_model, outputs_of, slope
from particles import cluster, interleaved, with_images

CONFIGURATIONS = {
    "all contribute": cluster(9, 3.0),
    "contributing first": cluster(12, 3.4, n_contributing=6, n_species=3),
    "interleaved": interleaved(cluster(12, 3.4, n_contributing=6, n_species=3)),
    "one contributes": interleaved(cluster(8, 2.8, n_contributing=1, n_species=2)),
    "one does not": interleaved(cluster(8, 2.8, n_contributing=7, n_species=2)),
    "far apart": interleaved(cluster(8, 6.0, n_contributing=6, n_species=2, seed=6)),
}
KINDS = pytest.mark.parametrize("kind", PARAMETERS, ids=[kind.__name__ for kind in PARAMETERS])


@pytest.fixture
def open_kind(opened):
    """Return a function that opens a model of a kind of models.py, for three species."""
    return lambda kind, **script: opened(script_bytes(kind, **script), elements=("Si", "C", "O"), **PARAMETERS[kind])


@KINDS
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_outputs_are_those_of_the_formula(kind, name, open_kind):
    configuration, outputs = CONFIGURATIONS[name], outputs_of(kind)

    def formula(coordinates):
        return particle_energies(kind, coordinates, configuration.species_codes, configuration.contributing)

    found = compute(open_kind(kind), configuration, outputs)
    expected = formula(configuration.coordinates)
    assert found["partialEnergy"][0] == pytest.approx(expected.sum(), abs=1e-12)
    forces = slope(lambda coordinates: formula(coordinates).sum(), configuration.coordinates)
    np.testing.assert_allclose(found["partialForces"], forces, atol=1e-9)
    assert np.abs(forces).max() > 0.01
    if "partialParticleEnergy" in outputs:
        np.testing.assert_allclose(found["partialParticleEnergy"], expected, atol=1e-12)
        assert (found["partialParticleEnergy"][configuration.contributing == 0] == 0).all()
        assert found["partialParticleEnergy"].sum() == pytest.approx(found["partialEnergy"][0], abs=1e-12)


@KINDS
def test_forces_are_the_slope_of_the_models_own_energy(kind, open_kind):
    model, outputs = open_kind(kind), outputs_of(kind)
    configuration = interleaved(cluster(6, 2.4, n_contributing=3, n_species=2))
    found = compute(model, configuration, outputs)
    expected = slope(lambda coordinates: energy(model, configuration.moved(coordinates)), configuration.coordinates)
    np.testing.assert_allclose(found["partialForces"], expected, atol=1e-9)
    np.testing.assert_allclose(found["partialForces"].sum(axis=0), 0, atol=1e-12)


@KINDS
def test_the_order_of_particles_does_not_matter(kind, open_kind):
    model, outputs = open_kind(kind), outputs_of(kind)
    configuration = CONFIGURATIONS["contributing first"]
    expected = compute(model, configuration, outputs)
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(configuration))
        found = compute(model, configuration.in_order(order), outputs)
        wanted = {
            name: array if name in ("partialEnergy", "partialVirial") else array[order]
            for name, array in expected.items()
        }
        assert_close(found, wanted)


@KINDS
def test_each_output_alone_and_in_any_company(kind, open_kind):
    model, outputs = open_kind(kind), outputs_of(kind)
    configuration = CONFIGURATIONS["interleaved"]
    together = compute(model, configuration, outputs)
    assert compute(model, configuration, []) == {}
    for left_out in outputs:
        for asked in ([left_out], [name for name in outputs if name != left_out]):
            assert_close(compute(model, configuration, asked), {name: together[name] for name in asked})


@KINDS
def test_one_configuration_leaves_nothing_for_the_next(kind, open_kind):
    model, outputs = open_kind(kind), outputs_of(kind)
    expected = compute(model, CONFIGURATIONS["interleaved"], outputs)
    for name in CONFIGURATIONS:
        compute(model, CONFIGURATIONS[name], outputs)
        found = compute(model, CONFIGURATIONS["interleaved"], outputs)
        assert_close(found, expected)


def test_a_crystal_has_the_energy_of_its_infinite_repetition(opened):
    """Two atoms in a cell with their images have the energy of the middle cell in a large block of cells."""
    edge = 2.6
    coordinates, cell = np.array([[0, 0, 0], [1.1, 1.2, 1.4]]), np.full(3, edge)
    found = compute(opened(script_bytes(PairOfAll)), with_images(coordinates, cell, reach=2.5))
    block = np.concatenate([coordinates + edge * np.array(shift) for shift in np.ndindex(5, 5, 5)])
    middle = 2 * (2 * 25 + 2 * 5 + 2)
    energies = pair_energies(block, np.zeros(len(block)), np.ones(len(block)))[middle : middle + 2]
    np.testing.assert_allclose(found["partialParticleEnergy"][:2], energies, atol=1e-12)
    assert found["partialEnergy"][0] == pytest.approx(energies.sum(), abs=1e-12)


@KINDS
def test_single_precision(kind, open_kind):
    configuration = CONFIGURATIONS["interleaved"]

    def formula(coordinates):
        return particle_energies(kind, coordinates, configuration.species_codes, configuration.contributing).sum()

    found = compute(open_kind(kind, dtype=torch.float32), configuration, outputs_of(kind))
    expected, forces = formula(configuration.coordinates), slope(formula, configuration.coordinates)
    assert found["partialEnergy"][0] == pytest.approx(expected, rel=2e-6)
    assert found["partialEnergy"][0] != pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(found["partialForces"], forces, atol=1e-5 * np.abs(forces).max())


@pytest.mark.cuda
@KINDS
def test_gpu_and_cpu_agree_to_rounding(kind, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} sees no GPU here")
    outputs = outputs_of(kind)
    results = []
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", device)
        model = open_model(tmp_path / device, script_bytes(kind), elements=("Si", "C", "O"), **PARAMETERS[kind])
        results.append([compute(model, configuration, outputs) for configuration in CONFIGURATIONS.values()])
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert_close(on_gpu, on_cpu)
