# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls the operators of a checked program, one after the other.

No Python source is made out of a program, unlike with torch.fx: nothing of a file could be in it then. What a call
costs besides the operators' own work is some tenths of a microsecond for each.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from kim_torchml.engines.exported.graph import Node, ProgramGraph, Value, used_nodes, values_in

# Fetches the arguments of a call out of all values; the place of its result, of which None is an item; the values that
# nothing needs afterwards.
_Instruction = tuple[Callable[..., Any], Callable[[list[Any]], Sequence[Any]], int, tuple[int, ...]]


class OperatorError(Exception):
    """An operator of a program has raised an error.

    Attributes:
        operator: Its name.
        error: The error.
    """

    def __init__(self, operator_name: str, error: Exception) -> None:
        """Keep both."""
        super().__init__(operator_name, error)
        self.operator = operator_name
        self.error = error


@dataclass(frozen=True)
class Runner:
    """A program that can be called, by several threads at once.

    Attributes:
        instructions: calls of functions, in order.
        operators: name of the operator of each instruction, for messages.
        values: the values that a call begins with: constants in their places, None in all others.
        weights: place of each weight, by its name.
        inputs: places of the inputs.
        outputs: places of what is returned.
    """

    instructions: Sequence[_Instruction]
    operators: Sequence[str]
    values: Sequence[Any]
    weights: Sequence[tuple[str, int]]
    inputs: Sequence[int]
    outputs: Sequence[int]

    def run(self, tensors: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return what the program returns.

        Args:
            tensors: Its weights and constants by their names.
            inputs: What it is called with.
        Raises:
            OperatorError: If one of its operators raises an error.
        """
        values = list(self.values)
        for name, place in self.weights:
            values[place] = tensors[name]
        for place, tensor in zip(self.inputs, inputs, strict=True):
            values[place] = tensor
        number = 0
        try:
            for function, fetch, place, done in self.instructions:
                values[place] = function(*fetch(values))
                for each in done:
                    values[each] = None
                number += 1
        except Exception as error:
            raise OperatorError(self.operators[number], error) from error
        return [values[place] for place in self.outputs]


def make_runner(graph: ProgramGraph) -> Runner:
    """Return a program that can be called."""
    return _Maker(graph).make()


class _Maker:
    """Turns nodes into instructions: every argument, list and item of a list has a place among all values."""

    def __init__(self, graph: ProgramGraph) -> None:
        self._graph = graph
        self._values: list[Any] = [None] * graph.n_values
        self._calls: list[tuple[str, Callable[..., Any], tuple[int, ...], int]] = []

    def make(self) -> Runner:
        """Return the instructions."""
        graph = self._graph
        for node in used_nodes(graph):
            self._add_node(node)
        held = {**graph.weights, **graph.constants}
        return Runner(
            self._with_ends(),
            [name for name, *_ in self._calls],
            self._values,
            [(name, value.number) for name, value in held.items()],
            [each.value.number for each in graph.inputs],
            [each.number for each in graph.outputs],
        )

    def _add_node(self, node: Node) -> None:
        keywords = dict(node.keywords)
        computed = [name for name, argument in keywords.items() if any(values_in(argument))]
        positional = [self._place_of(each, node.operator) for each in node.arguments]
        by_name = [self._place_of(keywords.pop(name), node.operator) for name in computed]
        function = partial(node.function, **keywords) if keywords else node.function
        if computed:
            function = partial(_call_by_name, function, len(positional), tuple(computed))
        if not node.is_list:
            (output,) = node.outputs
            self._add(node.operator, function, (*positional, *by_name), output)
            return
        place = self._add(node.operator, function, (*positional, *by_name), None)
        count = self._constant(len(node.outputs))
        self._add(node.operator, _check_length, (place, count), None)
        for number, output in enumerate(node.outputs):
            if output is not None:
                self._add(node.operator, operator.getitem, (place, self._constant(number)), output)

    def _add(self, name: str, function: Callable[..., Any], arguments: tuple[int, ...], output: Value | None) -> int:
        """Add a call, and return the place of what it returns."""
        place = self._constant(None) if output is None else output.number
        self._calls.append((name, function, arguments, place))
        return place

    def _constant(self, value: Any) -> int:
        """Return the place of a constant, or a place for what has no number in the program."""
        self._values.append(value)
        return len(self._values) - 1

    def _place_of(self, argument: Any, name: str) -> int:
        if isinstance(argument, Value):
            return argument.number
        if isinstance(argument, list) and any(values_in(argument)):
            return self._add(name, _list_of, tuple(self._place_of(each, name) for each in argument), None)
        return self._constant(argument)

    def _with_ends(self) -> list[_Instruction]:
        """Return the instructions, each with the values that it is the last to need, whose memory is free then."""
        kept = {value.number for value in (*self._graph.weights.values(), *self._graph.constants.values())}
        kept.update(each.number for each in self._graph.outputs)
        made = {place for *_, place in self._calls}
        last: dict[int, int] = {}
        for number, (_, _, arguments, place) in enumerate(self._calls):
            last.update((each, number) for each in (*arguments, place) if each in made and each not in kept)
        ends: dict[int, list[int]] = {}
        for place, number in last.items():
            ends.setdefault(number, []).append(place)
        return [
            (function, _fetch(arguments), place, tuple(ends.get(number, ())))
            for number, (_, function, arguments, place) in enumerate(self._calls)
        ]


def _fetch(places: Iterable[int]) -> Callable[[list[Any]], Sequence[Any]]:
    """Return a function that takes the values at some places out of all."""
    found = tuple(places)
    if len(found) > 1:
        return operator.itemgetter(*found)
    return partial(_one_of, found[0]) if found else _none_of


def _one_of(place: int, values: list[Any]) -> Sequence[Any]:
    return (values[place],)


def _none_of(values: list[Any]) -> Sequence[Any]:
    return ()


def _list_of(*items: Any) -> list[Any]:
    return list(items)


def _call_by_name(function: Callable[..., Any], n_positional: int, names: tuple[str, ...], *given: Any) -> Any:
    """Call a function with arguments, the last of which are given by name."""
    return function(*given[:n_positional], **dict(zip(names, given[n_positional:], strict=True)))


def _check_length(returned: Sequence[Any], count: int) -> None:
    if len(returned) != count:
        raise ValueError(f"it returns {len(returned)} tensors, and the program takes {count} of them")
