# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables that an exported program looks up by its first argument, such as the embedding of chemical species."""

from collections.abc import Iterator, Mapping

import torch

from kim_torchml.engines.contract import Table
from kim_torchml.engines.exported.graph import Node, ProgramGraph, Value, values_in

_ONE_HOT = "aten.one_hot.default"
# Operator -> places of the table and of the index among its arguments; for one_hot, a number of rows is the table.
_LOOKUPS = {
    "aten.embedding.default": (0, 1),
    "aten.index.Tensor": (0, 1),
    "aten.index_select.default": (0, 2),
    "aten.gather.default": (0, 2),
    "aten.take.default": (0, 1),
    _ONE_HOT: (1, 0),
}
# These give entries of their first argument, such as the species of each edge: the index only says which.
_CHOOSING = ("aten.index.Tensor", "aten.index_select.default", "aten.gather.default", "aten.take.default")
_ARITHMETIC = tuple(f"aten.{name}.{kind}" for name in ("add", "sub", "mul") for kind in ("Tensor", "Scalar"))
# These take other arguments for their shape or type alone.
_LIKE_OTHERS = tuple(f"aten.{name}" for name in ("expand_as.default", "reshape_as.default", "view_as.default",
                                                 "type_as.default", "to.other"))  # fmt: skip
# What these give is not made from what is in a tensor: its sizes, and tensors of its shape that are filled otherwise.
_SHAPES = (
    *(f"aten.{name}" for name in ("sym_size.int", "sym_numel.default", "sym_stride.int")),
    *(f"aten.{name}_like.default" for name in ("zeros", "ones", "full")),
    *(f"aten.new_{name}.default" for name in ("zeros", "ones", "full")),
)


def tables_of_first_input(graph: ProgramGraph, tensors: Mapping[str, torch.Tensor]) -> Iterator[Table]:
    """Yield the tables of a program that nothing but its first input is an index of.

    Args:
        graph: The program.
        tensors: Its weights and constants, by their names.
    """
    if not graph.inputs:
        return
    made_by = {each.number: node for node in graph.nodes for each in node.outputs if each is not None}
    names = {value.number: name for name, value in (*graph.weights.items(), *graph.constants.items())}
    first, *others = (each.value.number for each in graph.inputs)
    for node in graph.nodes:
        if node.operator not in _LOOKUPS or max(_LOOKUPS[node.operator]) >= len(node.arguments):
            continue
        table, index = (node.arguments[place] for place in _LOOKUPS[node.operator])
        made_from = {number for each in values_in(index) for number in _sources(each.number, made_by)}
        if made_from & {first, *others} != {first} or _is_of_pair(made_from, first, made_by):
            continue
        if node.operator == _ONE_HOT:
            if isinstance(table, int) and table > 0:
                yield Table("one_hot", table)
        elif isinstance(table, Value) and table.number in names:
            name = names[table.number]
            if tensors[name].dim() > 0:
                yield Table(name if name in graph.weights else "a constant", tensors[name].shape[0])


def _is_of_pair(made_from: set[int], first: int, made_by: Mapping[int, Node]) -> bool:
    """Return whether a value numbers pairs by the species of both, as in `species[i] * n + species[j]`."""
    nodes = [made_by[number] for number in made_from if number in made_by]
    return any(
        node.operator in _ARITHMETIC and sum(first in _sources(each.number, made_by) for each in node.values()) > 1
        for node in nodes
    )


def _sources(number: int, made_by: Mapping[int, Node]) -> set[int]:
    """Return the numbers of all values that a value was made from, itself included; not what chose its entries."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        node = made_by.get(each)
        if node is not None and node.operator not in _SHAPES:
            of_first = node.operator in _CHOOSING or node.operator in _LIKE_OTHERS
            chosen = values_in(node.arguments[0]) if of_first else node.values()
            waiting.extend(value.number for value in chosen)
    return found
