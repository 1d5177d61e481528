# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often the simulator is asked for its neighbour lists: once per compute and particle, whatever a model needs."""

import importlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
from configurations import Configuration, mixed
from kim_collection import KimCollection
from kimpy_host import ENERGY, KimpyModel

Ask = Callable[[Any], list[np.ndarray]]


class AskingModel:
    """A model of the driver that asks for neighbours of its own accord before it computes."""

    def __init__(self, model: Any, ask: Ask) -> None:
        self._model = model
        self._ask = ask
        self.answers: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def compute(self, coordinates: Any, species_codes: Any, contributing: Any, neighbours: Any, *rest: Any) -> None:
        self.answers = self._ask(neighbours)
        self._model.compute(coordinates, species_codes, contributing, neighbours, *rest)


class CountingLists:
    """Neighbour lists of all other particles, and how often each particle's list was asked for."""

    def __init__(self, n: int) -> None:
        self.asked: Counter[int] = Counter()
        self._lists = [np.delete(np.arange(n, dtype=np.int32), i) for i in range(n)]

    def __call__(self, _: Any, __: Any, ___: Any, particle: int) -> tuple[np.ndarray, int]:
        self.asked[particle] += 1
        return self._lists[particle], 0


@pytest.fixture
def ask_in_compute(collection: KimCollection, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Compute once with a model that asks for more; return how often lists were asked for, and the answers."""
    del collection

    def function(name: str, particles: Configuration, ask: Ask) -> tuple[Counter[int], list[np.ndarray]]:
        # Only when there is a model, the driver's package is the one that is imported here.
        KimpyModel(name, with_arguments=False)
        driver = importlib.import_module("kim_torchml.driver")
        open_model, opened = driver.open_model, []

        def open_asking_model(*arguments: Any, **keywords: Any) -> AskingModel:
            opened.append(AskingModel(open_model(*arguments, **keywords), ask))
            return opened[-1]

        monkeypatch.setattr(driver, "open_model", open_asking_model)
        lists = CountingLists(len(particles))
        KimpyModel(name).compute(particles, (ENERGY,), neighbours=lists)
        return lists.asked, opened[-1].answers

    return function


def contributing(particles: Configuration) -> list[int]:
    return np.flatnonzero(particles.contributing).tolist()


def both(neighbours: Any) -> list[np.ndarray]:
    """Lists, edges, and both again, of the model's own cutoff."""
    cutoff = tiny.CUTOFF
    first = [*neighbours.of_contributing(cutoff), *neighbours.staged_edges(cutoff, 1)]
    return [*first, *neighbours.of_contributing(cutoff), *neighbours.staged_edges(cutoff, 1)]


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_1, tiny.DESCRIPTOR])
def test_lists_are_asked_for_once(name: str, ask_in_compute: Callable[..., Any]) -> None:
    particles = mixed()
    asked, answers = ask_in_compute(name, particles, both)
    assert asked == dict.fromkeys(contributing(particles), 1)
    half = len(answers) // 2
    for ours, theirs in zip(answers[:half], answers[half:], strict=True):
        assert ours.size > 0
        np.testing.assert_array_equal(ours, theirs)


def test_deeper_layers_ask_for_the_missing_lists_only(ask_in_compute: Callable[..., Any]) -> None:
    particles = mixed()
    asked, _ = ask_in_compute(tiny.GRAPH_3, particles, both)
    assert set(asked) > set(contributing(particles))
    assert set(asked.values()) == {1}


def test_other_cutoff_asks_again(ask_in_compute: Callable[..., Any]) -> None:
    """What is kept has been filtered: the shorter lists must not stand for the longer ones."""
    particles, shorter = mixed(), 0.6 * tiny.CUTOFF

    def ask(neighbours: Any) -> list[np.ndarray]:
        cutoffs = (shorter, tiny.CUTOFF, shorter)
        return [neighbours.of_contributing(cutoff)[0] for cutoff in cutoffs]

    asked, (first, longer, again) = ask_in_compute(tiny.RAW, particles, ask)
    # The model itself, with its own cutoff, comes last.
    assert asked == dict.fromkeys(contributing(particles), 4)
    np.testing.assert_array_equal(first, again)
    assert (longer >= first).all()
    assert longer.sum() > first.sum()


def test_every_compute_asks_anew(collection: KimCollection) -> None:
    """Neighbours may have changed since the last step."""
    del collection
    model, particles = KimpyModel(tiny.RAW), mixed()
    lists = CountingLists(len(particles))
    for step in (1, 2, 3):
        model.compute(particles, (ENERGY,), neighbours=lists)
        assert lists.asked == dict.fromkeys(contributing(particles), step)


def test_refused_cutoff_leaves_the_lists_usable(ask_in_compute: Callable[..., Any]) -> None:
    particles = mixed()

    def ask(neighbours: Any) -> list[np.ndarray]:
        first = neighbours.of_contributing(tiny.CUTOFF)[1]
        for wrong in (0.0, -1.0, np.nan):
            with pytest.raises(Exception, match="`cutoff` must be positive"):
                neighbours.of_contributing(wrong)
        return [first, neighbours.of_contributing(tiny.CUTOFF)[1]]

    _, (first, second) = ask_in_compute(tiny.RAW, particles, ask)
    np.testing.assert_array_equal(first, second)
