# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that are called with the vectors of edges: beside the same network of the kind Graph, and by themselves."""

import numpy as np
import pytest
import torch
from models import CUTOFF, PARAMETERS, Edges1, Edges3, Graph1, Graph3, script_bytes
from opening import assert_close, compute, energy, open_model, slope
from particles import Configuration, cluster, interleaved, spread, with_images
from test_virials import strain_derivative

from kim_torchml.inputs import Particles

EVERYTHING = ["partialEnergy", "partialForces", "partialParticleEnergy", "partialVirial"]
SHARES = "partialParticleVirial"
PAIRS = {Edges1: Graph1, Edges3: Graph3}
EDGES = pytest.mark.parametrize("kind", PAIRS, ids=["1 layer", "3 layers"])
SPECIES = ("Si", "C", "O")


def periodic(layers, periodic=(True, True, True)):
    """Return a cell of few particles with its images, and the same in any order."""
    cell = np.array([3.8, 4.2, 4.6])
    return with_images(spread(3, 3.4, seed=4), cell, layers * CUTOFF, periodic, n_species=3)


def beside_isolated():
    """Return a cluster and particles that no other is near, some of them contributing."""
    near = cluster(10, 3.2, n_contributing=6, n_species=3)
    far = 40.0 * np.arange(1, 5)[:, None] + np.array([0.0, 5.0, -3.0])
    return Configuration(
        np.concatenate([near.coordinates, far]),
        np.concatenate([near.species_codes, [0, 1, 2, 0]]),
        np.concatenate([near.contributing, [1, 0, 1, 0]]),
    )


CONFIGURATIONS = {
    "all contribute": lambda layers: cluster(14, 3.6, n_species=3),
    "some contribute": lambda layers: cluster(20, 4.4, n_contributing=7, n_species=3),
    "interleaved": lambda layers: interleaved(cluster(20, 4.4, n_contributing=7, n_species=3), seed=5),
    "periodic": periodic,
    "periodic, in any order": lambda layers: interleaved(periodic(layers)),
    "wire": lambda layers: periodic(layers, (True, False, False)),
    "beside isolated ones": lambda layers: interleaved(beside_isolated()),
}
NAMES = pytest.mark.parametrize("name", CONFIGURATIONS)


def configuration_of(name, kind):
    return CONFIGURATIONS[name](PARAMETERS[kind]["n_layers"])


def inputs_of(model, configuration, dtype=torch.float64):
    """Return what a model is called with on the CPU."""
    flags = configuration.contributing.astype(bool)
    particles = Particles(configuration.coordinates, configuration.species_codes, flags, configuration.neighbours())
    return model._inputs.build(particles, dtype, torch.device("cpu"))


@pytest.fixture
def open_kind(opened):
    """Return a function that opens a model of a kind of models.py, for three species."""
    return lambda kind, **script: opened(script_bytes(kind, **script), elements=SPECIES, **PARAMETERS[kind])


@EDGES
@NAMES
def test_both_kinds_of_one_network_agree(kind, name, open_kind):
    configuration = configuration_of(name, kind)
    expected = compute(open_kind(PAIRS[kind]), configuration, EVERYTHING)
    assert np.abs(expected["partialVirial"]).min() > 1e-3
    assert_close(compute(open_kind(kind), configuration, EVERYTHING), expected)


@EDGES
@NAMES
def test_forces_and_virial_are_derivatives_of_the_energy(kind, name, open_kind):
    model, configuration = open_kind(kind), configuration_of(name, kind)
    # Those around a contributing particle: the others have hardly any force.
    centre = configuration.coordinates[configuration.contributing == 1][0]
    some = np.linalg.norm(configuration.coordinates - centre, axis=1).argsort()[:6]
    found = compute(model, configuration, ["partialForces", "partialVirial"])

    def energy_with(places):
        coordinates = configuration.coordinates.copy()
        coordinates[some] = places
        return energy(model, configuration.moved(coordinates))

    expected = slope(energy_with, configuration.coordinates[some])
    np.testing.assert_allclose(found["partialForces"][some], expected, atol=1e-9)
    np.testing.assert_allclose(found["partialForces"].sum(axis=0), 0, atol=1e-11)
    assert np.abs(expected).max() > 1e-3
    virial = strain_derivative(model, configuration)
    np.testing.assert_allclose(found["partialVirial"], virial, atol=1e-9 * max(1.0, np.abs(virial).max()))


@EDGES
@NAMES
def test_virials_of_particles_sum_to_the_virial(kind, name, open_kind):
    configuration = configuration_of(name, kind)
    found = compute(open_kind(kind), configuration, ["partialVirial", SHARES])
    np.testing.assert_allclose(found[SHARES].sum(axis=0), found["partialVirial"], atol=1e-12)
    assert (np.abs(found[SHARES]).max(axis=1) > 1e-6).sum() >= configuration.contributing.sum() - 2


def test_virials_of_particles_by_hand(open_kind):
    """An edge gives half of dE/dr (x) r to each end, whichever of its ends contributes."""
    configuration = interleaved(cluster(8, 3.0, n_contributing=5, n_species=3))
    points, n = configuration.coordinates, len(configuration)
    strength = 1 + 0.1 * configuration.species_codes
    expected = np.zeros((n, 6))
    vectors = points[None] - points[:, None]
    r = np.linalg.norm(vectors, axis=2)
    near = (r <= CUTOFF) & (r > 0)
    weight = np.where(near, 0.3 * np.exp(-r) * (1 - (r / CUTOFF) ** 2) ** 3, 0.0)
    features = strength + weight @ strength
    for i, j in np.argwhere(near & (configuration.contributing == 1)[:, None]):
        x = r[i, j] / CUTOFF
        slope_of_weight = -weight[i, j] * (1 + 6 * x / CUTOFF / (1 - x**2))
        derivative = (1 + 0.2 * features[i]) * strength[j] * slope_of_weight
        tensor = derivative * np.outer(vectors[i, j], vectors[i, j]) / r[i, j]
        share = 0.5 * tensor[[0, 1, 2, 1, 2, 0], [0, 1, 2, 2, 0, 1]]
        expected[i] += share
        expected[j] += share
    found = compute(open_kind(Edges1), configuration, [SHARES])[SHARES]
    np.testing.assert_allclose(found, expected, atol=1e-13)


@EDGES
def test_asking_for_virials_of_particles_changes_nothing_else(kind, opened, device):
    """On a GPU, sums come in any order."""
    model = opened(script_bytes(kind), elements=SPECIES, **PARAMETERS[kind])
    configuration = configuration_of("interleaved", kind)
    without, together = (compute(model, configuration, [*EVERYTHING, *more]) for more in ([], [SHARES]))
    del together[SHARES]
    assert_close(together, without, 0.0 if device.type == "cpu" else 1e-12)


@EDGES
def test_single_precision_takes_differences_of_double_precision(kind, open_kind, tmp_path):
    """Coordinates of 1e5 Å in single precision would be wrong by 0.004 Å."""
    outputs = [*EVERYTHING, SHARES]
    configuration = configuration_of("interleaved", kind)
    there = configuration.moved(configuration.coordinates + np.array([1e5, -2e5, 1.5e5]))
    expected = compute(open_kind(kind), configuration, outputs)
    single = open_model(tmp_path / "single", script_bytes(kind, torch.float32), elements=SPECIES, **PARAMETERS[kind])
    assert inputs_of(single, there, torch.float32).leaf.dtype is torch.float32
    for found in (compute(single, configuration, outputs), compute(single, there, outputs)):
        for output in outputs:
            scale = np.abs(expected[output]).max()
            np.testing.assert_allclose(found[output], expected[output], atol=3e-6 * scale, rtol=0, err_msg=output)


@EDGES
@pytest.mark.parametrize("n", [1, 4])
def test_particles_without_edges(kind, n, open_kind):
    """Those that do not contribute are not even rows."""
    flags = np.arange(n) % 2 == 0
    alone = Configuration(30.0 * np.arange(3 * n).reshape(n, 3), np.arange(n) % 3, flags)
    model = open_kind(kind)
    inputs = inputs_of(model, alone)
    assert inputs.particle_of_row.tolist() == np.flatnonzero(flags).tolist()
    assert [tuple(each.shape) for each in inputs.arguments] == [(flags.sum(),), (2, 0), (0, 3)]
    found = compute(model, alone, [*EVERYTHING, SHARES])
    strength = 1 + 0.1 * alone.species_codes
    np.testing.assert_allclose(found["partialParticleEnergy"], flags * (strength + 0.1 * strength**2), rtol=1e-15)
    for output in ("partialForces", "partialVirial", SHARES):
        assert not found[output].any(), output


@EDGES
def test_nothing_contributes(kind, open_kind):
    configuration = Configuration(spread(6, 3.0, 1), np.zeros(6), np.zeros(6))
    found = compute(open_kind(kind), configuration, [*EVERYTHING, SHARES])
    assert not any(values.any() for values in found.values())


@EDGES
@NAMES
def test_rows_are_the_particles_that_are_reached(kind, name, open_kind):
    """With one layer, these are the contributing ones and their neighbours; each further layer reaches one farther."""
    configuration, layers = configuration_of(name, kind), PARAMETERS[kind]["n_layers"]
    points = configuration.coordinates
    near = np.linalg.norm(points[:, None] - points[None], axis=2) <= CUTOFF
    np.fill_diagonal(near, False)
    within = [configuration.contributing == 1]
    for _ in range(layers):
        within.append(within[-1] | near[within[-1]].any(axis=0))
    inputs = inputs_of(open_kind(kind), configuration)
    species, edge_index, vectors = inputs.arguments
    rows = inputs.particle_of_row.numpy()
    assert rows.tolist() == np.flatnonzero(within[layers]).tolist()
    assert inputs.n_rows == len(rows) == len(species)
    assert len(rows) < len(points) or not name.startswith(("periodic", "beside"))
    # What is reached in fewer steps than there are layers has all its edges.
    pairs = np.argwhere(near & (within[layers - 1][:, None] | within[layers - 1][None]))
    particles = rows[edge_index.numpy()]
    assert particles.T.tolist() == pairs.tolist()
    assert inputs.n_pairs == len(pairs)
    np.testing.assert_array_equal(vectors.detach().numpy(), points[pairs[:, 1]] - points[pairs[:, 0]])
    np.testing.assert_array_equal(species.numpy(), configuration.species_codes[rows])
    counted = np.zeros(len(rows), dtype=bool)
    counted[inputs.contributing_rows] = True
    assert rows[counted].tolist() == np.flatnonzero(configuration.contributing).tolist()
