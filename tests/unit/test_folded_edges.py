# SPDX-License-Identifier: LGPL-2.1-or-later
"""Edges between rows that stand for particles and their images: against slow ones, and a sum over the lattice."""

import itertools

import numpy as np
import pytest
from compiled_lists import compiled, compiled_lists, dense_lists
from effort import seed, times
from particles import Configuration, cluster, interleaved, owner_of_image, spread, with_images

from kim_torchml.evaluation.probe_configurations import FEW, MANY, probe_particles

CUTOFF = 1.9
# Edge lengths of cells, and the directions in which they repeat.
CELLS = {
    "large": ((5.0, 4.5, 6.0), (True, True, True)),
    "smaller than the cutoff": ((1.5, 1.3, 1.7), (True, True, True)),
    "slab": ((3.0, 1.2, 4.0), (True, True, False)),
    "wire": ((1.1, 4.0, 4.0), (True, False, False)),
    "cluster": ((4.0, 4.0, 4.0), (False, False, False)),
}


def assert_same(found, expected, about=""):
    assert (found is None) == (expected is None), about
    for array, other in zip(found or (), expected or (), strict=True):
        assert (array.dtype, array.shape) == (other.dtype, other.shape), about
        np.testing.assert_array_equal(array, other, err_msg=about)


def periodic(random, n, cell, directions, reach):
    """Return particles with their images in an arbitrary order, and the row of each; rows are those of the owners."""
    edge = np.array(cell)
    points = random.uniform(0, 1, (n, 3)) * edge
    configuration = interleaved(with_images(points, edge, reach, directions), seed=int(random.integers(1000)))
    # In a direction that does not repeat, a cell is so large that nothing is an image.
    owners = owner_of_image(points, configuration, np.where(directions, edge, 1e13))
    # The contributing particles are the rows, in the order in which they come.
    own = np.flatnonzero(configuration.contributing)
    row_of_owner = np.empty(n, dtype=np.int64)
    row_of_owner[owners[own]] = np.arange(n)
    return configuration, row_of_owner[owners], configuration.coordinates[own]


def sum_over_lattice(points, cell, directions, cutoff):
    """Return all edges (row of the centre, row of the neighbour, vector) of a periodic system, from its cell alone."""
    steps = np.where(directions, np.ceil(cutoff / np.array(cell)), 0).astype(int) + np.array(directions)
    edges = []
    for shift in itertools.product(*(range(-count, count + 1) for count in steps)):
        moved = points + np.array(shift) * np.array(cell)
        vectors = moved[None] - points[:, None]
        near = np.linalg.norm(vectors, axis=2) <= cutoff
        if not any(shift):
            np.fill_diagonal(near, False)
        edges += [(*pair, *vectors[tuple(pair)]) for pair in np.argwhere(near)]
    return np.array(sorted(edges, key=sort_key)).reshape(-1, 5)


def sort_key(edge):
    return (*edge[:2], *np.round(edge[2:], 6))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_edges_are_those_of_the_periodic_system(name, n):
    cell, directions = CELLS[name]
    configuration, row_of_particle, own = periodic(np.random.default_rng([5, n]), n, cell, directions, CUTOFF)
    assert sorted(set(row_of_particle)) == list(range(n))
    for lists in (
        compiled_lists(configuration),
        compiled_lists(configuration, CUTOFF + 0.3),
        dense_lists(configuration),
    ):
        edge_index, particles, vectors = lists.folded_edges(CUTOFF, row_of_particle)
        found = np.column_stack([edge_index.T, vectors])
        found = np.array(sorted(found.tolist(), key=sort_key)).reshape(-1, 5)
        np.testing.assert_allclose(found, sum_over_lattice(own, cell, directions, CUTOFF), atol=1e-12)
        np.testing.assert_array_equal(edge_index, row_of_particle[particles])
        ends = configuration.coordinates[particles]
        np.testing.assert_array_equal(vectors, ends[1] - ends[0])
    if name == "smaller than the cutoff":
        # A particle is its own neighbour there: one row, two particles.
        of_itself = edge_index[0] == edge_index[1]
        assert of_itself.any()
        assert (particles[0] != particles[1])[of_itself].all()


def random_case(random):
    """Return a configuration in any order, a row or none for each particle, and a cutoff."""
    n = int(random.choice([0, 1, 2, *random.integers(3, 30, 5)]))
    points = random.uniform(0, random.choice([2.0, 4.0, 8.0]), (n, 3))
    flags = random.random(n) < random.choice([0.0, 0.2, 0.6, 1.0])
    rows = random.integers(0, max(n, 1), n)
    rows[random.random(n) < random.choice([0.0, 0.0, 0.1])] = -1
    return Configuration(points, np.zeros(n), flags), rows, random.choice([0.3, 1.2, 2.5])


def test_random_clouds():
    start = seed(11)
    seen = {"edges": 0, "no edges": 0, "refused": 0, "a missing row that no edge needs": 0, "one particle": 0}
    for number in range(times(400)):
        random = np.random.default_rng([start, number])
        configuration, rows, cutoff = random_case(random)
        slow = configuration.neighbours()
        expected, reached = slow.folded_edges(cutoff, rows), slow.reached(cutoff)
        for lists in (
            compiled_lists(configuration),
            compiled_lists(configuration, cutoff + 0.7),
            dense_lists(configuration),
        ):
            about = f"seed {start}, {number}"
            assert_same(lists.folded_edges(cutoff, rows), expected, about)
            assert_same([lists.reached(cutoff)], [reached], about)
        n_edges = 0 if expected is None else len(expected[2])
        seen["edges"] += n_edges > 10
        seen["no edges"] += expected is not None and n_edges == 0
        seen["refused"] += expected is None
        seen["a missing row that no edge needs"] += expected is not None and -1 in rows
        seen["one particle"] += len(configuration) == 1
    assert min(seen.values()) > 10


@pytest.mark.parametrize("shape", [FEW, MANY], ids=["few", "many"])
def test_probes_give_the_edges_of_their_own_lists(shape):
    particles = probe_particles(shape, CUTOFF, scale=0.3)
    configuration = Configuration(particles.coordinates, particles.species_codes, particles.contributing)
    rows = np.arange(len(particles))[::-1].copy()
    expected = configuration.neighbours()
    assert_same(particles.neighbours.folded_edges(CUTOFF, rows), expected.folded_edges(CUTOFF, rows))
    assert_same([particles.neighbours.reached(CUTOFF)], [expected.reached(CUTOFF)])
    rows[np.flatnonzero(particles.contributing)[0]] = -1
    assert particles.neighbours.folded_edges(CUTOFF, rows) is None


def test_an_edge_that_leads_to_a_particle_without_a_row():
    """Particle 2 is beyond the cutoff of the contributing particle 0, so that nobody needs its row."""
    line = Configuration([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [0] * 3, [1, 0, 0])
    lists = compiled_lists(line)
    assert lists.reached(1.5).tolist() == [True, True, False]
    edge_index, particles, vectors = lists.folded_edges(1.5, [0, 0, -1])
    assert (edge_index.tolist(), particles.tolist(), vectors.tolist()) == ([[0], [0]], [[0], [1]], [[1, 0, 0]])
    assert lists.folded_edges(1.5, [0, -1, 0]) is None
    assert lists.folded_edges(1.5, [-1, 0, 0]) is None
    assert lists.folded_edges(2.5, [0, 0, -1]) is None
    assert lists.folded_edges(0.5, [-1, -1, -1])[2].shape == (0, 3)


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("flag", [0, 1])
def test_no_neighbours(n, flag):
    alone = Configuration(np.arange(n)[:, None] * [10.0, 0, 0], [0] * n, [flag] * n)
    for lists in (compiled_lists(alone), dense_lists(alone)):
        edge_index, particles, vectors = lists.folded_edges(CUTOFF, np.arange(n))
        assert [each.shape for each in (edge_index, particles, vectors)] == [(2, 0), (2, 0), (0, 3)]
        assert lists.reached(CUTOFF).tolist() == [bool(flag)] * n


def test_only_lists_of_contributing_particles_are_asked_for():
    lists = compiled.NeighbourLists([[0, 0, 0], [1, 0, 0]], [1, 0], [1, 1], [1, 77])
    assert lists.folded_edges(2.0, [0, 0])[0].tolist() == [[0], [0]]
    assert lists.reached(2.0).tolist() == [True, True]
    assert lists.most_neighbours() == (0, 1)


def test_edges_of_one_layer_are_among_those_of_the_same_object():
    """Folded edges are the edges of one layer whose centre contributes, where every particle is a row of its own."""
    configuration = interleaved(cluster(40, 5.0, n_contributing=22))
    lists = compiled_lists(configuration)
    _, particles, vectors = lists.folded_edges(CUTOFF, np.arange(40))
    _, _, all_particles, all_vectors = lists.edges(CUTOFF, 1)
    of_contributing = configuration.contributing[all_particles[0]] == 1
    np.testing.assert_array_equal(particles, all_particles[:, of_contributing])
    np.testing.assert_array_equal(vectors, all_vectors[of_contributing])
    assert not of_contributing.all()


def test_arrays_own_their_memory():
    configuration = cluster(20, 4.0)
    lists = compiled_lists(configuration)
    rows = np.arange(20)
    arrays = [*lists.folded_edges(CUTOFF, rows), lists.reached(CUTOFF)]
    before = [array.copy() for array in arrays]
    others = [*lists.folded_edges(CUTOFF, rows), lists.reached(CUTOFF)]
    for array, other in zip(arrays, others, strict=True):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert not np.shares_memory(array, other)
        other[...] = 0
    del lists
    assert_same(arrays, before)


def two(rows, cutoff=2.0):
    return compiled.NeighbourLists([[0, 0, 0], [1, 0, 0]], [1, 0], [1, 1], [1, 0]).folded_edges(cutoff, rows)


@pytest.mark.parametrize(
    ("rows", "wrong"), [([0, 2], "2 for particle 1"), ([-2, 0], "-2 for particle 0"), ([0, 2**40], f"{2**40} for")]
)
def test_rows_that_cannot_be(rows, wrong):
    with pytest.raises(
        ValueError, match=f"`row_of_particle` must be rows from 0 to 1, or -1 where there is none, got {wrong}"
    ):
        two(rows)


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        ([0], r"1 in 1 dimension\(s\)"),
        ([0, 1, 0], r"3 in 1 dimension\(s\)"),
        ([[0, 1]], r"2 in 2 dimension\(s\)"),
        (0, r"1 in 0 dimension\(s\)"),
    ],
)
def test_not_one_row_for_each_particle(rows, got):
    with pytest.raises(
        ValueError, match=f"`row_of_particle` must have one entry for each of the 2 particles, got {got}"
    ):
        two(rows)


def test_rows_that_are_no_whole_numbers():
    with pytest.raises(TypeError, match="incompatible function arguments"):
        two(np.array([0.0, 0.5]))
    assert two(np.array([0, 1], dtype=np.int32))[0].tolist() == [[0], [1]]
    assert two(np.array([0, 7, 1])[::2])[0].tolist() == [[0], [1]]


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan])
def test_a_cutoff_that_is_none(cutoff):
    with pytest.raises(ValueError, match="`cutoff` must be positive, got "):
        two([0, 0], cutoff)
    with pytest.raises(ValueError, match="`cutoff` must be positive, got "):
        compiled_lists(cluster(3)).reached(cutoff)


def test_particles_far_from_the_origin():
    points = spread(12, 4.0, seed=2) + 5000.0
    configuration = Configuration(points, [0] * 12, [1] * 12)
    assert_same(
        compiled_lists(configuration).folded_edges(CUTOFF, np.arange(12)),
        configuration.neighbours().folded_edges(CUTOFF, np.arange(12)),
    )
