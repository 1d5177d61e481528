# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the graphs of a loaded TorchScript model tell about it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

# What torch says of operators that make containers or take them apart, and that pass values into blocks or out of them.
_NO_SCHEMA = "(no schema)"
# Stands in a schema's alias sets for a value that may be part of anything.
_ANYTHING = "*"
CALLS = ("prim::CallMethod", "prim::CallFunction")
_CONSTRUCTORS = ("prim::ListConstruct", "prim::TupleConstruct", "prim::DictConstruct")
_CONTAINERS = ("ListType", "TupleType", "DictType")
# These return what a task has returned, although their schemas do not say so.
_WAITS = ("aten::wait", "prim::awaitable_wait")


def graphs_of(module: Any) -> Iterator[Any]:
    """Yield the graphs of every method of every submodule, functions and classes they call included."""
    for method in _methods_of(module):
        yield method.graph
        yield inlined(method)


def nodes_of(graphs: list[Any], blocks_of: Callable[[Any], list[Any]] | None = None) -> Iterator[Any]:
    """Yield every node of graphs, those of blocks and subgraphs included.

    Nodes do not keep their graphs alive: whoever keeps nodes must keep the graphs.

    Args:
        graphs: The graphs of methods.
        blocks_of: Function that returns the blocks of a node to go into; by default all of them.
    """
    blocks = list(graphs)
    while blocks:
        for node in blocks.pop().nodes():
            yield node
            blocks.extend((blocks_of or _blocks_in)(node))


def constant_tensors(graphs: list[Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors, not scalars, that graphs hold as constants: weights of a frozen model."""
    for node in nodes_of(graphs):
        tensor = constant_tensor(node)
        if tensor is not None and tensor.dim() > 0:
            yield tensor


def constant_tensor(node: Any) -> torch.Tensor | None:
    """Return the tensor that a node holds as a constant; None if it holds none."""
    if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t":
        tensor: torch.Tensor = node.t("value")
        return tensor
    return None


def keeps_state(module: Any) -> bool:
    """Return whether a model's code sets an attribute, or changes in place what one holds: a tensor, list or dict.

    Where the graph does not tell what a value is part of, the value counts as part of everything it was made from.
    """
    forward = inlined(module._c._get_method("forward"))
    # Inlining replaces all calls, except those of methods that are chosen only when the model runs.
    if not any(node.kind() in CALLS for node in nodes_of([forward])):
        return _writes_to_attributes(forward)
    return any(_writes_to_attributes(inlined(method)) for method in _methods_of(module))


def _methods_of(module: Any) -> Iterator[Any]:
    for submodule in module.modules():
        script = submodule._c
        yield from map(script._get_method, script._method_names())


def inlined(method: Any) -> Any:
    """Return a copy of a method's graph in which functions and methods are inlined, in its subgraphs too.

    Each value's name occurs once in the graph and its subgraphs together.
    """
    graph = method.inlined_graph
    subgraphs = [graph]
    for number, outer in enumerate(subgraphs):
        for node in list(nodes_of([outer], lambda node: list(node.blocks()))):
            for inner in _subgraphs(node):
                torch._C._jit_pass_inline(inner)
                subgraphs.append(inner)
            if number:
                _rename(node.outputs(), number)
                for block in node.blocks():
                    _rename(block.inputs(), number)
        if number:
            _rename(outer.inputs(), number)
    return graph


def _rename(values: Iterable[Any], number: int) -> None:
    for value in values:
        value.setDebugName(f"subgraph_{number}.{value.debugName()}")


def _blocks_in(node: Any) -> list[Any]:
    return [*node.blocks(), *_subgraphs(node)]


def _subgraphs(node: Any) -> list[Any]:
    """Return the subgraphs of a node, as prim::fork has them; they are alive as long as the node's own graph."""
    return [node.g(name) for name in node.attributeNames() if node.kindOf(name) == "g"]


def _writes_to_attributes(graph: Any) -> bool:
    nodes = list(nodes_of([graph], _blocks_that_run))
    if any(_sets_attribute(node) for node in nodes):
        return True
    held = _Held()
    # Values that a loop passes to its next round are found in another pass over the nodes.
    while held.grows():
        for node in nodes:
            held.pass_through(node)
    return any(value.debugName() in held.parts for node in nodes for value in _chosen(node, "written"))


def _blocks_that_run(node: Any) -> list[Any]:
    """Return the blocks that run when a model is not trained: batch normalisation counts batches in training alone."""
    blocks = _blocks_in(node)
    return blocks[1:] if node.kind() == "prim::If" and _asks_for_training(node) else blocks


def _asks_for_training(node: Any) -> bool:
    condition = next(node.inputs()).node()
    return bool(condition.kind() == "prim::GetAttr" and condition.s("name") == "training")


def _sets_attribute(node: Any) -> bool:
    """Return whether a node sets an attribute of something else than an object that was made in the same call."""
    return bool(node.kind() == "prim::SetAttr") and next(node.inputs()).node().kind() != "prim::CreateObject"


class _Held:
    """Values, by name, that have to do with what attributes hold.

    Attributes:
        parts: values that may be what an attribute holds, or part of it.
        holders: lists, tuples and dicts made during the call that may hold such parts.
    """

    def __init__(self) -> None:
        self.parts: set[str] = set()
        self.holders: set[str] = set()
        self._before = -1

    def grows(self) -> bool:
        """Return whether values were added since the last call of this."""
        before, self._before = self._before, len(self.parts) + len(self.holders)
        return self._before > before

    def pass_through(self, node: Any) -> None:
        """Follow values from a node's inputs to its outputs, and into and out of its blocks."""
        outputs, inputs = list(node.outputs()), list(node.inputs())
        handed_on = inputs if node.kind() in _WAITS else _chosen(node, "handed_on")
        if node.kind() == "prim::GetAttr" or self._any(handed_on):
            self._add(outputs, makes_container=node.kind() in _CONSTRUCTORS)
        if self._any(inputs):
            # A list made from another list is a new list of the same tensors.
            self.holders.update(each.debugName() for each in outputs if each.type().kind() in _CONTAINERS)
        if self._any(_chosen(node, "put")):
            self.holders.update(each.debugName() for each in _chosen(node, "written"))
        inside = _blocks_in(node)
        comes_out = any(self._any(block.outputs()) for block in inside)
        if comes_out:
            self._add(outputs)
        for subgraph in _subgraphs(node):
            for given, taken in zip(inputs, subgraph.inputs(), strict=False):
                if self._any([given]):
                    self._add([taken])
        # A loop's next round begins with what came out of the last one.
        if comes_out or self._any(inputs):
            for block in node.blocks():
                self._add(block.inputs())

    def _any(self, values: Iterable[Any]) -> bool:
        return any(each.debugName() in self.parts or each.debugName() in self.holders for each in values)

    def _add(self, values: Iterable[Any], makes_container: bool = False) -> None:
        (self.holders if makes_container else self.parts).update(each.debugName() for each in values)


def _chosen(node: Any, what: str) -> list[Any]:
    """Return the inputs for which a field of _Aliases is true; where a node does not say, it hands on all."""
    inputs = list(node.inputs())
    if node.schema() == _NO_SCHEMA:
        return inputs if what == "handed_on" else []
    return [value for value, is_so in zip(inputs, getattr(_aliases(node.schema()), what), strict=False) if is_so]


@dataclass(frozen=True)
class _Aliases:
    """What an operator does with each of its arguments.

    Attributes:
        written: whether the operator changes the argument in place.
        handed_on: whether it returns something that may share memory with the argument.
        put: whether it puts the argument into something else.
    """

    written: tuple[bool, ...]
    handed_on: tuple[bool, ...]
    put: tuple[bool, ...]


@cache
def _aliases(schema: str) -> _Aliases:
    parsed = torch._C.parse_schema(schema)
    given = [each.alias_info for each in parsed.arguments]
    returned: set[str] = set()
    for each in parsed.returns:
        returned |= set(each.alias_info.after_set) if each.alias_info is not None else set()
    anything = _ANYTHING in returned
    return _Aliases(
        tuple(info is not None and bool(info.is_write) for info in given),
        tuple(info is not None and (anything or bool(returned & set(info.before_set))) for info in given),
        tuple(info is not None and _ANYTHING in info.after_set for info in given),
    )
