# SPDX-License-Identifier: LGPL-2.1-or-later
"""The model of the README works as it stands there."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from documents import write_model_of_readme
from opening import compute, energy, slope
from particles import cluster, interleaved, with_images

from kim_torchml.driver import open_model

WEIGHTS = np.array([1.0, 0.6])
CUTOFF = 4.0


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Return the model, opened by the driver from the files that the README makes."""
    monkeypatch.chdir(tmp_path)
    write_model_of_readme(tmp_path)
    runpy.run_path("make_my_model.py", run_name="__main__")
    listed = re.search(r"PARAMETER_FILES ((?:\"[^\"]+\" ?)+)", Path("CMakeLists.txt").read_text())[1]
    opened = open_model(str(tmp_path), re.findall(r'"([^"]+)"', listed))
    opened.prepare()
    return opened


def energies_by_formula(configuration):
    """Return the energies of contributing particles from all distances, in the order of the particles."""
    points = configuration.coordinates
    r = np.linalg.norm(points[:, None] - points, axis=2)
    smooth = np.where((r <= CUTOFF) & (r > 0), (1.0 - (r / CUTOFF) ** 2) ** 3, 0.0)
    density = smooth @ WEIGHTS[configuration.species_codes]
    return np.where(configuration.contributing, 0.1 * smooth @ density - np.tanh(density), 0.0)


CONFIGURATIONS = {
    "cluster": interleaved(cluster(n=12, edge=5.0, n_species=2)),
    "some contribute": interleaved(cluster(n=16, edge=9.0, n_contributing=5, n_species=2)),
    "periodic": interleaved(with_images(cluster(n=4, edge=3.0).coordinates, [5.0] * 3, 2 * CUTOFF, n_species=2)),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_particles_have_the_energies_of_the_formula(model, name):
    assert (model.influence_distance, model.species) == (8.0, ["Si", "C"])
    configuration = CONFIGURATIONS[name]
    found = compute(model, configuration, ["partialEnergy", "partialParticleEnergy"])
    expected = energies_by_formula(configuration)
    np.testing.assert_allclose(found["partialParticleEnergy"], expected, rtol=1e-12, atol=1e-12)
    assert found["partialEnergy"][0] == pytest.approx(expected.sum(), rel=1e-12)


def test_forces_are_the_derivative_of_the_energy(model):
    configuration = CONFIGURATIONS["some contribute"]
    forces = compute(model, configuration, ["partialForces"])["partialForces"]
    numerical = slope(lambda coordinates: energy(model, configuration.moved(coordinates)), configuration.coordinates)
    assert np.abs(forces).max() > 0.01
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=1e-10)


def test_a_particle_alone(model):
    configuration = cluster(n=1)
    found = compute(model, configuration, ["partialEnergy", "partialForces"])
    assert (found["partialEnergy"].tolist(), found["partialForces"].tolist()) == ([0.0], [[0.0, 0.0, 0.0]])


def test_edges_are_as_the_readme_says():
    """Row 0 is the centre, each of whose edges is there, and both directions of every pair are."""
    configuration = CONFIGURATIONS["some contribute"]
    points = configuration.coordinates
    near = np.argwhere((np.linalg.norm(points[:, None] - points, axis=2) <= CUTOFF) & ~np.eye(len(points), dtype=bool))
    first, second = configuration.neighbours().staged_edges(CUTOFF, 2)
    contributing = configuration.contributing.astype(bool)
    touching = {tuple(pair) for pair in near.tolist() if contributing[pair].any()}
    for edges in (first, second):
        pairs = set(zip(*edges.tolist(), strict=True))
        assert len(pairs) == edges.shape[1]
        assert {(j, i) for i, j in pairs} == pairs
    assert set(zip(*first.tolist(), strict=True)) == touching
    assert touching < set(zip(*second.tolist(), strict=True))
