# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables that a TorchScript model looks up by its first argument, such as the embedding of chemical species."""

from collections.abc import Iterator
from typing import Any

import torch

from kim_torchml.engines.contract import Table
from kim_torchml.engines.torchscript.graphs import nodes_of

# Operator -> places of the table and of the index among its inputs.
_LOOKUPS = {"aten::embedding": (0, 1), "aten::index": (0, 1), "aten::index_select": (0, 2), "aten::gather": (0, 2)}
_ONE_HOT = "aten::one_hot"


def tables_of_first_argument(module: Any) -> Iterator[Table]:
    """Yield the tables of a scripted module that nothing but the first argument of forward is an index of."""
    graph = module._c._get_method("forward").inlined_graph
    receiver, first, *others = (value.debugName() for value in graph.inputs())
    for node in nodes_of([graph]):
        inputs = list(node.inputs())
        if node.kind() == _ONE_HOT and _sources(inputs[0]) & {first, *others} == {first}:
            n_classes = inputs[1].node()
            if n_classes.kind() == "prim::Constant":
                yield Table("one_hot", int(n_classes.i("value")))
        elif node.kind() in _LOOKUPS:
            table, index = (inputs[place] for place in _LOOKUPS[node.kind()])
            if _sources(index) & {first, *others} != {first}:
                continue
            name, tensor = _tensor_of(module, table.node(), receiver)
            if tensor is not None and tensor.dim() > 0:
                yield Table(name, tensor.shape[0])


def _sources(value: Any) -> set[str]:
    """Return the names of all values that a value was made from, itself included."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if each.debugName() not in found:
            found.add(each.debugName())
            waiting.extend(each.node().inputs())
            # What a branch or a loop gives was made in its blocks.
            waiting.extend(value for block in each.node().blocks() for value in block.outputs())
    return found


def _tensor_of(module: Any, node: Any, receiver: str) -> tuple[str, torch.Tensor | None]:
    """Return the dotted name of a tensor that the module holds, and the tensor; None if a node gives anything else."""
    if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t":
        return "a constant", node.t("value")
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
