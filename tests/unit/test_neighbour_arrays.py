# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory of the compiled neighbour lists and edges: numpy owns it, and a model may keep it and write into it."""

import gc
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from particles import Configuration, cluster

compiled = pytest.importorskip(
    "kim_torchml.inputs._neighbour_lists", reason="the package's compiled part is not here (pip install . builds it)"
)

CUTOFF = 1.9


def lists_of(configuration):
    """The compiled lists of a configuration, every particle in every list."""
    n = len(configuration)
    others = [[j for j in range(n) if j != i] for i in range(n)]
    counts = np.array([len(each) for each in others], dtype=np.int32)
    flat = np.concatenate([*others, []]).astype(np.int32)
    return compiled.NeighbourLists(configuration.coordinates, configuration.contributing, counts, flat)


def arrays_of(lists):
    return [*lists.of_contributing(CUTOFF), *lists.staged_edges(CUTOFF, 3), *lists.edges(CUTOFF, 2)]


def test_arrays_outlive_what_made_them():
    lists = lists_of(cluster(40, 5.0, n_contributing=25))
    arrays = arrays_of(lists)
    before = [array.copy() for array in arrays]
    # Other lists would be written where memory has been freed too early.
    for _ in range(3):
        arrays_of(lists)
    del lists
    gc.collect()
    for array, copy in zip(arrays, before, strict=True):
        assert array.size > 0
        np.testing.assert_array_equal(array, copy)


def test_no_two_arrays_share_memory():
    lists = lists_of(cluster(20, 4.0))
    arrays = arrays_of(lists) + arrays_of(lists)
    for k, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[k + 1 :])


def test_arrays_can_be_written_to_without_a_change_of_the_next():
    lists = lists_of(cluster(20, 4.0))
    expected = [array.copy() for array in arrays_of(lists)]
    for array in arrays_of(lists):
        array[...] = -7
    for array, copy in zip(arrays_of(lists), expected, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_arrays_are_aligned_and_contiguous_as_torch_takes_them():
    for array in arrays_of(lists_of(cluster(20, 4.0))):
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.flags.writeable
        assert array.ctypes.data % 16 == 0
        tensor = torch.from_numpy(array)
        assert tensor.data_ptr() == array.ctypes.data
        assert tensor.is_contiguous()


@pytest.mark.parametrize("n", [0, 1])
def test_no_neighbours(n):
    alone = Configuration(np.zeros((n, 3)), np.zeros(n), np.ones(n))
    counts, neighbours, *stages, rows, _, _, vectors = arrays_of(lists_of(alone))
    assert (counts.dtype, counts.tolist()) == (np.int32, [0] * n)
    assert (neighbours.dtype, neighbours.shape) == (np.int32, (0,))
    for edge_index in stages:
        assert (edge_index.dtype, edge_index.shape) == (np.int64, (2, 0))
        assert edge_index.flags.writeable
    assert (rows.tolist(), vectors.shape) == ([0] * n, (0, 3))


def test_memory_is_freed():
    """Edges and vectors of 1 GB in all are made, one array after the other."""
    n = 64
    lists = lists_of(Configuration(np.random.default_rng(1).uniform(0, 1, (n, 3)), np.zeros(n), np.ones(n)))
    (edges,) = lists.staged_edges(CUTOFF, 1)
    assert edges.shape == (2, n * (n - 1))
    before = resident_memory()
    for _ in range(2000):
        lists.staged_edges(CUTOFF, 1)
        lists.edges(CUTOFF, 1)
        lists.folded_edges(CUTOFF, np.arange(n))
    assert resident_memory() - before < 30e6


def resident_memory():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
