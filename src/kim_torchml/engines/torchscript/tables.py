# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables that a TorchScript model looks up by its first argument, such as the embedding of chemical species."""

from collections.abc import Iterator
from typing import Any

import torch

from kim_torchml.engines.contract import Table
from kim_torchml.engines.torchscript.graphs import constant_tensor, nodes_of

_ONE_HOT = "aten::one_hot"
# Operator -> places of the table and of the index among its inputs; one_hot has a number of rows in place of a table.
_LOOKUPS = {
    "aten::embedding": (0, 1),
    "aten::index": (0, 1),
    "aten::index_select": (0, 2),
    "aten::gather": (0, 2),
    "aten::take": (0, 1),
    _ONE_HOT: (1, 0),
}
# These give entries of their first input, such as the species of each edge: the index only says which.
_CHOOSING = ("aten::index", "aten::index_select", "aten::gather", "aten::take")
_ARITHMETIC = ("aten::add", "aten::sub", "aten::mul", "aten::add_", "aten::sub_", "aten::mul_")


def tables_of_first_argument(module: Any) -> Iterator[Table]:
    """Yield the tables of a scripted module that nothing but the first argument of forward is an index of."""
    graph = module._c._get_method("forward").inlined_graph
    receiver, first, *others = (value.debugName() for value in graph.inputs())
    for node in nodes_of([graph]):
        if node.kind() not in _LOOKUPS:
            continue
        inputs = list(node.inputs())
        table, index = (inputs[place] for place in _LOOKUPS[node.kind()])
        if _sources(index) & {first, *others} == {first} and not _is_of_pair(index, first):
            yield from _table_of(module, table, receiver, node.kind() == _ONE_HOT)


def _sources(value: Any) -> set[str]:
    """Return the names of all values that a value was made from, itself included; not what chose its entries."""
    return {each.debugName() for each in _made_from(value)}


def _is_of_pair(value: Any, first: str) -> bool:
    """Return whether a value numbers pairs by the species of both, as in `species[i] * n + species[j]`."""
    return any(
        each.node().kind() in _ARITHMETIC and sum(first in _sources(part) for part in each.node().inputs()) > 1
        for each in _made_from(value)
    )


def _made_from(value: Any) -> Iterator[Any]:
    found: set[str] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if each.debugName() not in found:
            found.add(each.debugName())
            yield each
            inputs = list(each.node().inputs())
            waiting.extend(inputs[:1] if each.node().kind() in _CHOOSING else inputs)
            # What a branch or a loop gives was made in its blocks.
            waiting.extend(value for block in each.node().blocks() for value in block.outputs())


def _table_of(module: Any, value: Any, receiver: str, is_one_hot: bool) -> Iterator[Table]:
    """Yield the table that a value is, if its number of rows is known."""
    node = value.node()
    if is_one_hot:
        if node.kind() == "prim::Constant":
            yield Table("one_hot", int(node.i("value")))
        return
    name, tensor = _tensor_of(module, node, receiver)
    if tensor is not None and tensor.dim() > 0:
        yield Table(name, tensor.shape[0])


def _tensor_of(module: Any, node: Any, receiver: str) -> tuple[str, torch.Tensor | None]:
    """Return the dotted name of a tensor that the module holds, and the tensor; None if a node gives anything else."""
    constant = constant_tensor(node)
    if constant is not None:
        return "a constant", constant
    path: list[str] = []
    while node.kind() == "prim::GetAttr":
        path.insert(0, node.s("name"))
        holder = next(node.inputs())
        if holder.debugName() == receiver:
            held = module
            for name in path:
                held = getattr(held, name, None)
            return ".".join(path), held if isinstance(held, torch.Tensor) else None
        node = holder.node()
    return "", None
