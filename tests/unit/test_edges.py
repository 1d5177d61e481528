# SPDX-License-Identifier: LGPL-2.1-or-later
"""The compiled neighbour lists and edges against the slow ones, which follow their definition."""

import itertools

import numpy as np
import pytest
from compiled_lists import compiled, compiled_lists
from particles import Configuration, cluster, interleaved, spread, with_images
from slow_neighbours import SlowNeighbours

CUTOFF = 1.9


def diamond(cells=1, edge=3.4):
    """Return the coordinates of a rattled diamond crystal, and its cell."""
    basis = [(0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)]
    corners = itertools.product(range(cells), repeat=3)
    points = np.array([np.array(corner) + np.array(atom) / 4 for corner in corners for atom in basis]) * edge
    return points + np.random.default_rng(3).normal(0, 0.05, points.shape), np.full(3, cells * edge)


def gas():
    """Return a configuration in which half of the particles have no neighbour at all."""
    pairs = spread(6, 30.0, seed=5, closest=6.0)
    return Configuration(np.concatenate([pairs, pairs[:3] + np.array([0.7, 0.8, 0.9])]), np.zeros(9), np.ones(9))


def chain(n=12):
    """Return a straight chain whose first particle alone contributes: each layer reaches one particle farther."""
    return Configuration(np.arange(n)[:, None] * [0.6 * CUTOFF, 0, 0], np.zeros(n), np.arange(n) == 0)


CONFIGURATIONS = {
    "cluster": cluster(40, 5.0),
    "cluster, half contributing": cluster(40, 5.0, n_contributing=20),
    "dense cluster": cluster(40, 3.0, n_contributing=25, seed=2),
    "crystal": with_images(*diamond(), reach=4 * CUTOFF),
    "two cells": with_images(*diamond(2), reach=2 * CUTOFF),
    "slab": with_images(*diamond(), reach=4 * CUTOFF, periodic=(True, True, False)),
    "gas": gas(),
    "chain": chain(),
}


def assert_same_edges(found, expected):
    assert len(found) == len(expected)
    for edge_index, edges in zip(found, expected, strict=True):
        assert edge_index.dtype == np.int64
        assert edge_index.shape == (2, len(edges))
        assert edge_index.flags.c_contiguous
        assert edge_index.flags.writeable
        pairs = list(map(tuple, edge_index.T.tolist()))
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) == edges
        assert pairs == sorted(pairs)


@pytest.mark.parametrize("skin", [0.0, 0.8, np.inf])
@pytest.mark.parametrize("mixed", [False, True], ids=["contributing first", "interleaved"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_neighbours_and_edges_are_those_of_the_definition(name, mixed, skin):
    configuration = interleaved(CONFIGURATIONS[name]) if mixed else CONFIGURATIONS[name]
    slow, fast = configuration.neighbours(), compiled_lists(configuration, CUTOFF + skin)
    for found, expected in zip(fast.of_contributing(CUTOFF), slow.of_contributing(CUTOFF), strict=True):
        assert found.dtype == np.int32
        assert found.tolist() == expected.tolist()
    for n_layers in (1, 2, 3, 4):
        assert_same_edges(fast.staged_edges(CUTOFF, n_layers), slow.edge_sets(CUTOFF, n_layers))


@pytest.mark.parametrize("skin", [0.0, 0.8])
@pytest.mark.parametrize("mixed", [False, True], ids=["contributing first", "interleaved"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_edges_for_all_layers_are_those_of_the_definition(name, mixed, skin):
    configuration = interleaved(CONFIGURATIONS[name]) if mixed else CONFIGURATIONS[name]
    slow, fast = configuration.neighbours(), compiled_lists(configuration, CUTOFF + skin)
    # The lists are the same object's for all: what it keeps from one number of layers must not matter for the next.
    for n_layers in (3, 1, 2, 4, 1):
        found, expected = fast.edges(CUTOFF, n_layers), slow.edges(CUTOFF, n_layers)
        assert [array.dtype for array in found] == [np.int64, np.int64, np.int64, np.float64]
        for array, other in zip(found, expected, strict=True):
            assert array.flags.c_contiguous
            assert array.flags.writeable
            np.testing.assert_array_equal(array, other)


def test_one_layer_has_no_row_but_contributing_particles_and_their_neighbours():
    rows, edge_index, particles, vectors = compiled_lists(chain()).edges(CUTOFF, 1)
    assert rows.tolist() == [0, 1]
    assert edge_index.tolist() == particles.tolist() == [[0, 1], [1, 0]]
    np.testing.assert_array_equal(vectors, [[0.6 * CUTOFF, 0, 0], [-0.6 * CUTOFF, 0, 0]])


def test_rows_are_numbered_without_gaps():
    """Particles 1 and 3 are no rows; 4 contributes and has no edge."""
    points = [[0, 0, 0], [50, 0, 0], [1, 0, 0], [60, 0, 0], [90, 0, 0], [0, 1, 0]]
    lists = compiled_lists(Configuration(points, [0] * 6, [0, 0, 1, 0, 1, 0]))
    rows, edge_index, particles, _ = lists.edges(1.2, 2)
    assert rows.tolist() == [0, 2, 4, 5]
    assert particles.tolist() == [[0, 0, 2, 5], [2, 5, 0, 0]]
    assert edge_index.tolist() == [[0, 0, 1, 3], [1, 3, 0, 0]]


def test_the_configurations_tell_layers_apart():
    """Without this, the test above might pass with the same edges in every layer."""
    for name in ("cluster, half contributing", "crystal", "two cells", "slab", "chain"):
        stages = CONFIGURATIONS[name].neighbours().edge_sets(CUTOFF, 4)
        assert stages[0] < stages[1] or name == "chain"
        assert stages[0] != stages[1] != stages[2]


def test_a_chain_by_hand():
    """The particles of the layers are A_1 = {0}, A_2 = {1}, A_3 = {0, 2}, A_4 = {1, 3}."""
    expected = [
        {(0, 1), (1, 0)},
        {(1, 0), (0, 1), (1, 2), (2, 1)},
        {(0, 1), (1, 0), (2, 1), (1, 2), (2, 3), (3, 2)},
        {(1, 0), (0, 1), (1, 2), (2, 1), (3, 2), (2, 3), (3, 4), (4, 3)},
    ]
    assert chain().neighbours().edge_sets(CUTOFF, 4) == expected
    assert_same_edges(compiled_lists(chain()).staged_edges(CUTOFF, 4), expected)


def test_the_cutoff_itself_is_within():
    points = [[0, 0, 0], [1.5, 2.0, 0], [1.5, 2.0, 2.5], [0, 0, np.nextafter(-2.5, -3)]]
    configuration = Configuration(points, [0] * 4, [1] * 4)
    expected = [{(0, 1), (1, 0), (1, 2), (2, 1)}]
    assert configuration.neighbours().edge_sets(2.5, 1) == expected
    assert_same_edges(compiled_lists(configuration).staged_edges(2.5, 1), expected)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("flag", [0, 1])
def test_few_particles(n, flag):
    configuration = Configuration(np.arange(3 * n).reshape(n, 3), [0] * n, [flag] * n)
    fast, edges = compiled_lists(configuration), {(0, 1), (1, 0)} if n == 2 and flag else set()
    counts, neighbours = fast.of_contributing(6.0)
    assert (counts.shape, neighbours.shape) == ((n * flag,), (len(edges),))
    assert_same_edges(fast.staged_edges(6.0, 3), [edges] * 3)
    rows, edge_index, particles, vectors = fast.edges(6.0, 3)
    assert rows.tolist() == (list(range(n)) if flag else [])
    assert_same_edges([edge_index, particles], [edges] * 2)
    assert vectors.shape == (len(edges), 3)


def test_no_particle_contributes():
    configuration = Configuration(spread(9, 3.0, 1), [0] * 9, [0] * 9)
    counts, neighbours = compiled_lists(configuration).of_contributing(CUTOFF)
    assert len(counts) == len(neighbours) == 0
    assert_same_edges(compiled_lists(configuration).staged_edges(CUTOFF, 2), [set(), set()])
    assert [array.shape for array in compiled_lists(configuration).edges(CUTOFF, 2)] == [(0,), (2, 0), (2, 0), (0, 3)]


def test_one_object_answers_again_and_for_other_cutoffs():
    configuration = CONFIGURATIONS["cluster, half contributing"]
    slow, fast = configuration.neighbours(), compiled_lists(configuration)
    for cutoff, n_layers in ((1.2, 3), (2.4, 1), (1.2, 2)):
        assert_same_edges(fast.staged_edges(cutoff, n_layers), slow.edge_sets(cutoff, n_layers))
        assert fast.of_contributing(cutoff)[1].tolist() == slow.of_contributing(cutoff)[1].tolist()


def test_arrays_outlive_the_object():
    lists = compiled_lists(CONFIGURATIONS["cluster"])
    (edges,) = lists.staged_edges(CUTOFF, 1)
    before = edges.copy()
    lists.staged_edges(1.0, 4)
    del lists
    np.testing.assert_array_equal(edges, before)


def lists_of(coordinates=((0, 0, 0), (1, 0, 0)), contributing=(1, 0), counts=(1, 1), neighbours=(1, 0)):
    return compiled.NeighbourLists(coordinates, contributing, counts, neighbours)


@pytest.mark.parametrize("index", [2, -1, 1000000000])
def test_a_neighbour_that_is_not_there(index):
    lists = lists_of(neighbours=(index, 0))
    message = rf"neighbour list of particle 0 names particle {index}, but there are 2 particles"
    with pytest.raises(IndexError, match=message):
        lists.of_contributing(2.0)
    with pytest.raises(IndexError, match=message):
        lists.staged_edges(2.0, 1)
    with pytest.raises(IndexError, match=message):
        lists.edges(2.0, 1)


def test_more_neighbours_than_particles():
    lists = lists_of(counts=(3, 1), neighbours=(1, 1, 1, 0))
    message = "neighbour list of particle 0 has 3 neighbours, but there are 2 particles"
    with pytest.raises(IndexError, match=message):
        lists.edges(2.0, 1)
    with pytest.raises(IndexError, match=message):
        lists.of_contributing(2.0)


def test_a_list_that_lacks_a_particle_which_has_it():
    """Both ends of the edge have a row all the same."""
    lists = lists_of(counts=(1, 0), neighbours=(1,))
    rows, edge_index, particles, _ = lists.edges(2.0, 2)
    assert rows.tolist() == [0, 1]
    assert edge_index.tolist() == particles.tolist() == [[0], [1]]


def test_lists_that_are_not_needed_are_not_looked_at():
    lists = lists_of(neighbours=(1, 77))
    assert lists.of_contributing(2.0)[1].tolist() == [1]
    assert_same_edges(lists.staged_edges(2.0, 1), [{(0, 1), (1, 0)}])
    assert lists.edges(2.0, 1)[1].tolist() == [[0, 1], [1, 0]]
    with pytest.raises(IndexError, match="neighbour list of particle 1 names particle 77"):
        lists.staged_edges(2.0, 2)
    with pytest.raises(IndexError, match="neighbour list of particle 1 names particle 77"):
        lists.edges(2.0, 2)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan])
def test_a_cutoff_that_is_none(cutoff):
    with pytest.raises(ValueError, match="`cutoff` must be positive, got "):
        lists_of().of_contributing(cutoff)
    with pytest.raises(ValueError, match="`cutoff` must be positive, got "):
        lists_of().staged_edges(cutoff, 1)
    with pytest.raises(ValueError, match="`cutoff` must be positive, got "):
        lists_of().edges(cutoff, 1)


@pytest.mark.parametrize("n_layers", [0, -1])
def test_a_number_of_layers_that_is_none(n_layers):
    with pytest.raises(ValueError, match=f"`n_layers` must be at least 1, got {n_layers}"):
        lists_of().staged_edges(2.0, n_layers)
    with pytest.raises(ValueError, match=f"`n_layers` must be at least 1, got {n_layers}"):
        lists_of().edges(2.0, n_layers)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coordinates": ((0, 0, 0),)}, r"`coordinates` must have the shape \[n, 3\] with n = 2"),
        ({"coordinates": ((0, 0), (1, 0))}, r"`coordinates` must have the shape \[n, 3\] with n = 2"),
        ({"coordinates": (0, 0, 0, 1, 0, 0)}, r"`coordinates` must have the shape \[n, 3\] with n = 2"),
        ({"counts": (2,)}, "`counts` must have one entry for each of the 2 particles, got 1"),
        ({"counts": (1, 0)}, "`counts` must sum to the 2 neighbours given, got 1"),
        ({"counts": (3, -1)}, "`counts` must not be negative, got -1"),
        ({"neighbours": (1, 0, 1)}, "`counts` must sum to the 3 neighbours given, got 2"),
        ({"neighbours": ()}, "`counts` must sum to the 0 neighbours given, got 2"),
    ],
)
def test_arrays_that_do_not_fit(wrong, message):
    with pytest.raises(ValueError, match=message):
        lists_of(**wrong)


def test_the_slow_ones_by_hand():
    points = [[0, 0, 0], [1, 0, 0], [2.5, 0, 0], [2.5, 1, 0]]
    slow = SlowNeighbours(points, [0, 1, 0, 1])
    counts, neighbours = slow.of_contributing(1.6)
    assert (counts.tolist(), neighbours.tolist()) == ([2, 1], [0, 2, 2])
    (first,) = slow.staged_edges(1.6, 1)
    assert first.tolist() == [[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]]
