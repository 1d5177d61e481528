# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forces are minus the gradient of the energy, for every kind of model and every kind of particle."""

import numpy as np
import pytest
import tiny_models as tiny
from configurations import Configuration, cluster, crystal, mixed, of_atoms
from kimpy_host import FORCES, KimpyModel, minus_gradient

pytestmark = [pytest.mark.every_system, pytest.mark.usefixtures("collection")]

MODELS = (
    tiny.RAW,
    tiny.RAW_TOTAL,
    tiny.RAW_FORCES,
    tiny.GRAPH_1,
    tiny.GRAPH_2,
    tiny.GRAPH_3,
    tiny.GRAPH_TOTAL,
    tiny.DESCRIPTOR,
    tiny.EDGES_1,
    tiny.EDGES_3,
)


def check(model: KimpyModel, particles: Configuration, chosen: list[int]) -> None:
    (forces,) = model.compute(particles, (FORCES,))
    for particle in chosen:
        expected = minus_gradient(model, particles, particle)
        np.testing.assert_allclose(forces[particle], expected, rtol=0, atol=1e-9)
    # No external force acts, so the total force is 0; a rotation changes no energy, so the total torque is 0.
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, rtol=0, atol=1e-12)
    torque = np.cross(particles.coordinates, forces).sum(axis=0)
    np.testing.assert_allclose(torque, 0.0, rtol=0, atol=1e-11)


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", MODELS)
def test_contributing_and_other_particles_in_any_order(name: str) -> None:
    particles = mixed()
    model = KimpyModel(name)
    ours = np.flatnonzero(particles.contributing == 1)[:3]
    others = np.flatnonzero(particles.contributing == 0)[:3]
    (forces,) = model.compute(particles, (FORCES,))
    assert (np.abs(forces[others]).max(axis=1) > 1e-3).any()
    check(model, particles, [*ours, *others])


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_3])
def test_cluster(name: str) -> None:
    check(KimpyModel(name), of_atoms(cluster()), [0, 17])


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2, tiny.EDGES_3])
def test_crystal_with_its_images(name: str) -> None:
    """The particles that are checked include the last one, an image at the edge."""
    model = KimpyModel(name)
    particles = of_atoms(crystal(), model.model.get_influence_distance())
    assert len(particles) > 64 + 50
    check(model, particles, [0, 63, 64, len(particles) - 1])
