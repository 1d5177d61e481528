# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's promises to simulators, checked through kimpy: any combination of outputs, for any arguments."""

import itertools

import numpy as np
import pytest
import tiny_models as tiny
from configurations import Configuration, cluster, crystal, mixed, of_atoms
from kim_collection import KimCollection
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, PARTICLE_VIRIALS, SKIN, VIRIAL, KimpyModel

pytestmark = [pytest.mark.every_system, pytest.mark.usefixtures("collection")]

EVERYTHING = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS)
# These give virials of particles too.
OF_PAIRS = (tiny.DESCRIPTOR, tiny.EDGES_1, tiny.EDGES_3)
LOCAL_MODELS = (tiny.RAW, tiny.RAW_ALL, tiny.RAW_FORCES, tiny.GRAPH_1, tiny.GRAPH_2, tiny.GRAPH_3, *OF_PAIRS)
TOTAL_MODELS = (tiny.RAW_TOTAL, tiny.GRAPH_TOTAL)


def outputs_of(model: KimpyModel) -> tuple[str, ...]:
    return tuple(name for name in EVERYTHING if model.supports(name))


def no_particles() -> Configuration:
    return Configuration(np.zeros((0, 3)), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))


@pytest.mark.parametrize("name", LOCAL_MODELS)
def test_model_with_particle_energies_supports_what_its_kind_can_give(name: str) -> None:
    expected = EVERYTHING if name in OF_PAIRS else EVERYTHING[:-1]
    assert outputs_of(KimpyModel(name)) == expected


@pytest.mark.parametrize("name", TOTAL_MODELS)
def test_model_that_gives_a_total_has_no_particle_energies(name: str) -> None:
    assert outputs_of(KimpyModel(name)) == (ENERGY, FORCES, VIRIAL)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (tiny.RAW, 1),
        (tiny.DESCRIPTOR, 1),
        (tiny.GRAPH_1, 1),
        (tiny.GRAPH_2, 2),
        (tiny.GRAPH_3, 3),
        (tiny.EDGES_1, 1),
        (tiny.EDGES_3, 3),
    ],
)
@pytest.mark.usefixtures("staged_edges")
def test_cutoff_and_influence_distance(name: str, layers: int) -> None:
    model = KimpyModel(name)
    assert model.cutoff == tiny.CUTOFF
    assert model.model.get_influence_distance() == pytest.approx(layers * tiny.CUTOFF, rel=1e-15)
    _, will_not_request = model.model.get_neighbor_list_cutoffs_and_hints()
    assert list(will_not_request) == [int(layers == 1)]


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", LOCAL_MODELS + TOTAL_MODELS)
def test_outputs_do_not_depend_on_what_else_is_asked_for(name: str) -> None:
    model = KimpyModel(name)
    particles = mixed()
    supported = outputs_of(model)
    expected = dict(zip(supported, model.compute(particles, supported), strict=True))
    for count in range(len(supported)):
        for asked in itertools.combinations(supported, count):
            for found, output in zip(model.compute(particles, asked), asked, strict=True):
                np.testing.assert_array_equal(found, expected[output])


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2, tiny.DESCRIPTOR, tiny.EDGES_3])
def test_outputs_are_overwritten(name: str) -> None:
    model = KimpyModel(name)
    particles, supported = mixed(), outputs_of(model)
    assert (particles.contributing == 0).any()
    for first, second in zip(
        model.compute(particles, supported, fill=np.nan), model.compute(particles, supported, fill=7.0), strict=True
    ):
        np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", LOCAL_MODELS + TOTAL_MODELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_interleaved_particles_give_what_contributing_first_gives(name: str, seed: int) -> None:
    model = KimpyModel(name)
    supported = outputs_of(model)
    interleaved = mixed(seed=seed)
    order = np.argsort(1 - interleaved.contributing, kind="stable")
    assert not np.array_equal(order, np.arange(len(order)))
    found = model.compute(interleaved, supported)
    expected = model.compute(interleaved.reordered(order), supported)
    assert found[0][0] == pytest.approx(expected[0][0], rel=1e-13)
    for output, ours, theirs in zip(supported[1:], found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours if output == VIRIAL else ours[order], theirs, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.parametrize("name", LOCAL_MODELS)
def test_particle_energies_sum_to_the_energy(name: str) -> None:
    particles = mixed()
    energy, energies = KimpyModel(name).compute(particles, (ENERGY, PARTICLE_ENERGIES))
    assert energies.sum() == pytest.approx(energy[0], rel=1e-13)
    assert (energies[particles.contributing == 0] == 0.0).all()
    assert (energies[particles.contributing == 1] != 0.0).all()


@pytest.mark.parametrize("name", [tiny.RAW, tiny.RAW_ALL, tiny.RAW_FORCES])
def test_particle_energies_are_each_particles_own(name: str) -> None:
    """The expected energies come from the formula of RawModel, not from the driver."""
    particles = mixed()
    _, energies = KimpyModel(name).compute(particles, (ENERGY, PARTICLE_ENERGIES))
    differences = particles.coordinates[:, None] - particles.coordinates[None, :]
    squared = (differences**2).sum(axis=2)
    fade = np.clip(1.0 - squared / tiny.CUTOFF**2, 0.0, None) ** 3
    np.fill_diagonal(fade, 0.0)
    strength = (2.0 + particles.codes[:, None]) * (3.0 + particles.codes[None, :])
    expected = (0.5 * strength * fade).sum(axis=1) - 0.1 * fade.sum(axis=1) ** 2
    np.testing.assert_allclose(energies, np.where(particles.contributing == 1, expected, 0.0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", [tiny.RAW_COUNTS, tiny.GRAPH_COUNTS])
def test_neighbours_end_at_the_cutoff(name: str) -> None:
    """The simulator's lists reach farther than the cutoff, and a gas has pairs at any distance."""
    random = np.random.default_rng(1)
    contributing = random.integers(0, 2, 150).astype(np.int32)
    particles = Configuration(random.uniform(0.0, 12.0, (150, 3)), np.zeros(150, dtype=np.int32), contributing)
    distances = np.linalg.norm(particles.coordinates[:, None] - particles.coordinates[None, :], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert ((distances > tiny.CUTOFF) & (distances < tiny.CUTOFF + SKIN)).any()
    expected = np.where(particles.contributing == 1, (distances <= tiny.CUTOFF).sum(axis=1), 0)
    (found,) = KimpyModel(name).compute(particles, (PARTICLE_ENERGIES,))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [tiny.GRAPH_1, tiny.GRAPH_2, tiny.GRAPH_3, tiny.EDGES_1, tiny.EDGES_3])
def test_graph_models_see_far_enough_across_the_boundary(name: str) -> None:
    """A crystal with its images has the same energy per cell as a crystal of twice the size."""
    model = KimpyModel(name)
    reach = model.model.get_influence_distance()
    (one,) = model.compute(of_atoms(crystal(), reach), (ENERGY,))
    (four,) = model.compute(of_atoms(crystal() * (2, 2, 1), reach), (ENERGY,))
    assert four[0] == pytest.approx(4 * one[0], rel=1e-13)


def test_single_precision_model_agrees_with_the_double_precision_one() -> None:
    particles = mixed()
    model = KimpyModel(tiny.RAW_FLOAT32)
    supported = outputs_of(model)
    assert supported == EVERYTHING[:-1]
    single = model.compute(particles, supported)
    double = KimpyModel(tiny.RAW).compute(particles, supported)
    for ours, theirs in zip(single, double, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("name", LOCAL_MODELS + TOTAL_MODELS)
def test_no_particles_give_zeros(name: str) -> None:
    model = KimpyModel(name)
    supported = outputs_of(model)
    for _ in range(2):
        assert [values.sum() for values in model.compute(no_particles(), supported)] == [0.0] * len(supported)


@pytest.mark.parametrize("name", LOCAL_MODELS + TOTAL_MODELS)
def test_only_noncontributing_particles_give_zeros(name: str) -> None:
    model = KimpyModel(name)
    particles = mixed()
    ghosts = Configuration(particles.coordinates, particles.codes, np.zeros(len(particles), dtype=np.int32))
    for values in model.compute(ghosts, outputs_of(model)):
        assert (values == 0.0).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [(tiny.RAW, 0.0), (tiny.GRAPH_1, 1.5), (tiny.GRAPH_3, 1.5), (tiny.EDGES_1, 1.5), (tiny.EDGES_3, 1.5)],
)
def test_single_atom(name: str, expected: float) -> None:
    atom = Configuration(np.array([[0.1, 0.2, 0.3]]), np.ones(1, dtype=np.int32), np.ones(1, dtype=np.int32))
    energy, forces, energies = KimpyModel(name).compute(atom, (ENERGY, FORCES, PARTICLE_ENERGIES))
    assert (energy[0], energies[0]) == (expected, expected)
    assert (forces == 0.0).all()


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2, tiny.EDGES_3])
def test_atoms_without_neighbours(name: str) -> None:
    model = KimpyModel(name)
    gas = Configuration(np.diag([0.0, 50.0, 90.0]), np.zeros(3, dtype=np.int32), np.array([1, 0, 1], dtype=np.int32))
    _, forces, energies = model.compute(gas, (ENERGY, FORCES, PARTICLE_ENERGIES))
    assert (forces == 0.0).all()
    assert energies[0] == energies[2]


def test_number_of_particles_may_change_from_call_to_call() -> None:
    model = KimpyModel(tiny.GRAPH_2)
    fresh = KimpyModel(tiny.GRAPH_2)
    for n in (40, 5, 1, 30, 2):
        particles = mixed(n, seed=n)
        (expected,) = fresh.compute(particles, (ENERGY,))
        (found,) = model.compute(particles, (ENERGY,))
        assert found[0] == expected[0]


def test_two_models_of_the_same_id_and_two_sets_of_arguments() -> None:
    first, second = KimpyModel(tiny.GRAPH_2), KimpyModel(tiny.GRAPH_2)
    one, other = of_atoms(cluster(seed=1)), of_atoms(cluster(seed=2))
    expected = first.compute(one)[0][0]
    second.compute(other)
    del second
    assert first.compute(one)[0][0] == expected


def test_model_is_destroyed_and_made_again(collection: KimCollection) -> None:
    del collection
    particles = mixed()
    energies = set()
    for _ in range(5):
        model = KimpyModel(tiny.RAW)
        energies.add(float(model.compute(particles)[0][0]))
        del model
    assert len(energies) == 1
