# SPDX-License-Identifier: LGPL-2.1-or-later
"""The compiled neighbour lists of a test's particles; tests that import this are skipped where they are not built."""

import numpy as np
import pytest

from kim_torchml.evaluation.dense_neighbours import DenseNeighbours

compiled = pytest.importorskip(
    "kim_torchml.inputs._neighbour_lists", reason="the package's compiled part is not here (pip install . builds it)"
)


def compiled_lists(configuration, list_cutoff=np.inf, random=None):
    """Return the compiled lists, made from lists that reach to `list_cutoff`, each in an arbitrary order."""
    slow, random = configuration.neighbours(), random or np.random.default_rng(8)
    lists = [random.permutation(slow.neighbours(i, list_cutoff)) for i in range(len(configuration))]
    counts = np.array([len(each) for each in lists], dtype=np.int32)
    flat = np.concatenate([*lists, []]).astype(np.int32)
    return compiled.NeighbourLists(configuration.coordinates, configuration.contributing, counts, flat)


def dense_lists(configuration):
    """Return the lists of probes, made of the same particles."""
    return DenseNeighbours(configuration.coordinates, configuration.contributing.astype(bool))
