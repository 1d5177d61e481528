# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that keep something in their attributes are recognised, and one thread at a time computes with them."""

import gc
import threading

import pytest
from models import Pair, PairTotal, script_bytes
from opening import assert_close, compute
from particles import cluster
from stateful import (
    KEEPING,
    TASKS,
    TASKS_THAT_READ,
    AsOut,
    InList,
    InSlice,
    InView,
    NeededByBackward,
    Reading,
    TaskInTask,
)
from test_model_limits import in_threads
from torch import Tensor

from kim_torchml.engines.torchscript.graphs import _methods_of, graphs_of, nodes_of
from kim_torchml.engines.torchscript.loading import load_module


@pytest.mark.parametrize("kind", KEEPING, ids=lambda kind: kind.__name__)
def test_models_that_keep_something_are_recognised(kind, keeps):
    assert keeps(kind)


@pytest.mark.parametrize("kind", [Reading, PairTotal, *TASKS_THAT_READ], ids=lambda kind: kind.__name__)
def test_models_that_keep_nothing_are_recognised(kind, keeps):
    assert not keeps(kind)


@pytest.fixture
def keeps(device):
    """Return whether a model is taken for one that keeps something."""
    from kim_torchml.engines.torchscript.graphs import keeps_state

    return lambda kind: keeps_state(load_module(script_bytes(kind), "model.pt", device))


@pytest.mark.parametrize("kind", [InSlice, InView, AsOut, InList, NeededByBackward], ids=lambda kind: kind.__name__)
def test_threads_compute_with_models_that_keep_something(kind, opened):
    models = [opened(script_bytes(kind)) for _ in range(3)]
    configurations = [cluster(8, seed=k) for k in range(3)]
    expected = [compute(opened(script_bytes(Pairs)), configuration) for configuration in configurations]
    for results, wanted in zip(in_threads(models, configurations, 20), expected, strict=True):
        assert len(results) == 20
        for result in results:
            assert_close(result, wanted)


@pytest.mark.parametrize("kind", [*TASKS, *TASKS_THAT_READ], ids=lambda kind: kind.__name__)
def test_models_that_start_tasks_are_opened_and_run(kind, opened):
    configuration = cluster(8)
    found = compute(opened(script_bytes(kind)), configuration)
    assert_close(found, compute(opened(script_bytes(Pairs)), configuration))


def test_nodes_live_as_long_as_the_graphs(device):
    """Nodes of tasks' subgraphs, their branches and loops are kept in lists, walked again and asked for their names."""
    module = load_module(script_bytes(TaskInTask), "model.pt", device)
    before = [str(method.graph) for method in _methods_of(module)]
    graphs = list(graphs_of(module))
    nodes = list(nodes_of(graphs))
    gc.collect()
    kinds = [node.kind() for node in nodes]
    assert {"prim::fork", "prim::If", "prim::Loop", "aten::add_"} <= set(kinds)
    assert kinds == [node.kind() for node in nodes_of(graphs)]
    assert [str(method.graph) for method in _methods_of(module)] == before


class Pairs(Pair):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        return self.site_energies(s, r, counts, neighbours)


def test_parameters_change_while_others_compute(opened):
    """A model that keeps a list is copied only while no other thread is inside it."""
    computing, changing = (opened(script_bytes(InList)) for _ in range(2))
    configuration = cluster(8)
    expected = compute(computing, configuration)
    ended = threading.Event()

    def change():
        index = [parameter.name for parameter in changing.parameters].index("decay")
        while not ended.is_set():
            changing.parameters[index].values[:] = 1.9
            changing.take_parameters([index])
            changing._program = changing._opened.program

    thread = threading.Thread(target=change)
    thread.start()
    try:
        results = [compute(computing, configuration) for _ in range(60)]
    finally:
        ended.set()
        thread.join()
    for result in results:
        assert_close(result, expected)
