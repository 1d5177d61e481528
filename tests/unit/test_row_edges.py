# SPDX-License-Identifier: LGPL-2.1-or-later
"""Edges for all layers, the closest pair and the most neighbours: the compiled ones against slow ones, at random."""

import numpy as np
import pytest
from compiled_lists import compiled_lists, dense_lists
from effort import seed, times
from particles import Configuration, cluster, interleaved


def random_configuration(random):
    """Return a configuration of few particles, some of which may be isolated, in any order; and a cutoff."""
    n = int(random.choice([0, 1, 2, 3, random.integers(4, 30)]))
    edge = random.choice([2.0, 4.0, 8.0])
    points = random.uniform(0, edge, (n, 3))
    far = random.random(n) < random.choice([0.0, 0.3])
    points[far] += 100.0 * np.arange(1, n + 1)[far, None]
    flags = random.random(n) < random.choice([0.0, 0.2, 0.6, 1.0])
    return Configuration(points, np.zeros(n), flags), random.choice([0.3, 1.2, 2.5])


def assert_same_extremes(found, expected, configuration):
    """Compare what two objects say of the lists that they were last asked for."""
    pair, slow_pair = found.closest_pair(), expected.closest_pair()
    assert (pair is None) == (slow_pair is None)
    if pair is not None:
        assert set(pair[:2]) == set(slow_pair[:2])
        assert pair[2] == pytest.approx(slow_pair[2], rel=1e-14)
    most, slow_most = found.most_neighbours(), expected.most_neighbours()
    assert (most is None) == (slow_most is None)
    if most is not None:
        # Several particles may have as many.
        assert most[1] == slow_most[1] == len(expected.asked[most[0]])


def ask(lists, way, cutoff, n_layers):
    return lists.of_contributing(cutoff) if way == "of_contributing" else getattr(lists, way)(cutoff, n_layers)


def test_random_configurations():
    start = seed(7)
    seen = {"isolated": 0, "one particle": 0, "none": 0, "no edges": 0, "many rows": 0, "mixed rows": 0}
    for number in range(times(300)):
        random = np.random.default_rng([start, number])
        configuration, cutoff = random_configuration(random)
        n_layers = int(random.integers(1, 5))
        slow = configuration.neighbours()
        expected = slow.edges(cutoff, n_layers)
        skin = random.choice([0.0, 0.7, np.inf])
        for lists in (compiled_lists(configuration, cutoff + skin, random), dense_lists(configuration)):
            assert lists.closest_pair() is None
            assert lists.most_neighbours() is None
            found = lists.edges(cutoff, n_layers)
            for array, other in zip(found, expected, strict=True):
                assert array.dtype == other.dtype
                np.testing.assert_array_equal(array, other, err_msg=f"seed {start}, {number}")
            assert_same_extremes(lists, slow, configuration)
        rows, _, particles, _ = expected
        seen["isolated"] += len(set(np.flatnonzero(configuration.contributing)) - set(particles[0])) > 0
        seen["one particle"] += len(configuration) == 1
        seen["none"] += len(rows) == 0
        seen["no edges"] += particles.size == 0
        seen["many rows"] += len(rows) > 5
        flags = configuration.contributing[rows]
        seen["mixed rows"] += len(rows) < len(configuration) and not flags[: flags.sum()].all()
    assert min(seen.values()) > 10


@pytest.mark.parametrize("way", ["of_contributing", "staged_edges", "edges"])
@pytest.mark.parametrize("make", [compiled_lists, dense_lists], ids=["compiled", "dense"])
def test_extremes_are_those_of_the_lists_that_were_asked_for(way, make):
    """Particles 2 and 3 are the closest, and particle 3 has most neighbours: only two layers ask for its list."""
    line = np.array([0.0, 1.0, 2.0, 2.4, 3.3, 3.35 + 1.9])
    configuration = Configuration(line[:, None] * [1.0, 0, 0], np.zeros(6), [1, 0, 0, 0, 0, 0])
    slow, lists = configuration.neighbours(), make(configuration)
    for cutoff, n_layers in ((1.5, 1), (1.5, 2), (1.1, 3), (1.1, 1), (0.5, 2), (1.5, 4)):
        ask(slow, way, cutoff, n_layers)
        ask(lists, way, cutoff, n_layers)
        assert_same_extremes(lists, slow, configuration)
    layers = 1 if way == "of_contributing" else 4
    expected = {1: ((0, 1, 1.0), (0, 1)), 4: ((2, 3, pytest.approx(0.4)), (1, 3))}[layers]
    assert (tuple(sorted(lists.closest_pair()[:2])), lists.most_neighbours()) == (expected[0][:2], expected[1])


def test_the_closest_pair_in_any_order():
    configuration = cluster(30, 4.0, n_contributing=12)
    distances = np.linalg.norm(configuration.coordinates[:, None] - configuration.coordinates[None], axis=2)
    distances[np.arange(30), np.arange(30)] = np.inf
    counts = (distances <= 1.9).sum(axis=1)
    for mixed in (configuration, interleaved(configuration)):
        lists = compiled_lists(mixed, 2.5)
        lists.edges(1.9, 4)
        first, second, distance = lists.closest_pair()
        assert distance == pytest.approx(distances.min(), rel=1e-14)
        assert np.linalg.norm(mixed.coordinates[first] - mixed.coordinates[second]) == pytest.approx(distance)
        assert lists.most_neighbours()[1] == counts.max()


def test_particles_in_one_place():
    lists = compiled_lists(Configuration(np.zeros((3, 3)), [0] * 3, [0, 1, 0]))
    rows, _, particles, vectors = lists.edges(1.0, 1)
    assert (rows.tolist(), particles.tolist()) == ([0, 1, 2], [[0, 1, 1, 2], [1, 0, 2, 1]])
    assert not vectors.any()
    first, second, distance = lists.closest_pair()
    assert (first, second in (0, 2), distance) == (1, True, 0.0)
