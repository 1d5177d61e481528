# SPDX-License-Identifier: LGPL-2.1-or-later
"""An exported program after it has been checked: operators of the list, called with numbered values and constants.

The numbers are ours. Nothing of the file's texts is in it but names of weights and inputs, for people.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from kim_torchml.engines.exported.operators import IN_PLACE, NEW


@dataclass(frozen=True, slots=True)
class Value:
    """What a program is given, or has computed.

    Attributes:
        number: its number in the program.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Node:
    """One call of an operator.

    Attributes:
        operator: its name, such as "aten.add.Tensor".
        function: what is called.
        arguments: what it is called with in order: constants, values, and lists of both.
        keywords: what it is called with by name.
        outputs: values that it returns; None for one that nothing is made of.
        is_list: whether it returns a list or a tuple of them.
    """

    operator: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    outputs: tuple[Value | None, ...]
    is_list: bool

    def values(self) -> Iterator[Value]:
        """Yield the values that it is called with."""
        for argument in (*self.arguments, *self.keywords.values()):
            yield from values_in(argument)


@dataclass(frozen=True)
class InputFacts:
    """What a file says of a tensor that its program is called with.

    Attributes:
        name: name that its author has given it.
        value: its value in the program.
        dtype: type of its entries.
        sizes: its sizes: a number where the program was exported for it alone, the name of a size where it changes from
            call to call, and None where it is anything else.
    """

    name: str
    value: Value
    dtype: torch.dtype
    sizes: tuple[int | str | None, ...]


@dataclass(frozen=True)
class ProgramGraph:
    """A program.

    Attributes:
        inputs: tensors that it is called with.
        weights: values of parameters and buffers, by their dotted names.
        constants: values of its other constant tensors, by their names in the file.
        nodes: calls of operators, each after those whose results it needs.
        outputs: values that it returns.
        n_values: number of values.
    """

    inputs: Sequence[InputFacts]
    weights: Mapping[str, Value]
    constants: Mapping[str, Value]
    nodes: Sequence[Node]
    outputs: Sequence[Value]
    n_values: int
    _shared: set[int] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        """Find out what may share memory with what is not the call's own.

        What is not known to be in new memory may be a part of anything that it was made from. What is changed in place
        is where it was: other arguments are only read.
        """
        self._shared.update(each.value.number for each in self.inputs)
        self._shared.update(value.number for value in (*self.weights.values(), *self.constants.values()))
        for node in self.nodes:
            sources = values_in(node.arguments[0]) if node.operator in IN_PLACE else node.values()
            if node.operator not in NEW and any(value.number in self._shared for value in sources):
                self._shared.update(each.number for each in node.outputs if each is not None)

    def may_be_shared(self, value: Value) -> bool:
        """Return whether a value may share memory with an input, a weight or a constant."""
        return value.number in self._shared

    def changing_shared(self) -> Node | None:
        """Return a node that changes in place what may be an input, a weight or a constant; None if there is none."""
        for node in self.nodes:
            if node.operator in IN_PLACE and any(map(self.may_be_shared, values_in(node.arguments[0]))):
                return node
        return None


def values_in(argument: Any) -> Iterator[Value]:
    """Yield the values in an argument: itself, or those of a list."""
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, list):
        yield from (each for each in argument if isinstance(each, Value))


def used_nodes(graph: ProgramGraph) -> list[Node]:
    """Return the nodes whose results are needed, or that change something in place."""
    needed = {value.number for value in graph.outputs}
    used = []
    for node in reversed(graph.nodes):
        if node.operator in IN_PLACE or any(each is not None and each.number in needed for each in node.outputs):
            needed.update(value.number for value in node.values())
            used.append(node)
    return used[::-1]
