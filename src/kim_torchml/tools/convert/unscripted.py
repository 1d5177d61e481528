# SPDX-License-Identifier: LGPL-2.1-or-later
"""TorchScript without branches as a graph of torch.fx, which torch.export can look into.

e3nn keeps the code that it makes of a network's products and linear layers as TorchScript inside a pickle. The graph
calls the same operators in the same order, on the same tensors.
"""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from kim_torchml.errors import DriverError

# A tensor's sizes, and lists of them: TorchScript has operators for those, torch.fx has Python.
_Value = Any


def _sizes(tensor: torch.Tensor) -> list[int]:
    return list(tensor.shape)


def _part(values: list[int], start: int | None, end: int | None, step: int) -> list[int]:
    return values[start:end:step]


_ON_SIZES: dict[str, Callable[..., Any]] = {
    "aten::size": _sizes,
    "aten::slice.t": _part,
    "aten::add.t": operator.add,
    "aten::__getitem__.t": operator.getitem,
    "aten::mul.int": operator.mul,
    "aten::add.int": operator.add,
    "aten::sub.int": operator.sub,
    "aten::floordiv.int": operator.floordiv,
}


class NotMade(torch.nn.Module):
    """Stands for a part that only raises an error, as e3nn has it for a product that a network never calls."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        """Raise an error."""
        raise NotImplementedError("this part of the network was not made")


@contextmanager
def unscripted_parts(module: torch.nn.Module) -> Iterator[None]:
    """Let all parts of a module that are TorchScript be graphs of torch.fx; afterwards it is as it was.

    Raises:
        DriverError: If a part does what such a graph cannot express.
    """
    scripted = [
        (parent, name, child)
        for parent in module.modules()
        if not isinstance(parent, torch.jit.ScriptModule)
        for name, child in parent.named_children()
        if isinstance(child, torch.jit.ScriptModule)
    ]
    graphs = [NotMade() if _only_raises(child) else unscripted(child) for _, _, child in scripted]
    try:
        for (parent, name, _), graph in zip(scripted, graphs, strict=True):
            parent._modules[name] = graph
        yield
    finally:
        for parent, name, child in scripted:
            parent._modules[name] = child


def _only_raises(script: torch.jit.ScriptModule) -> bool:
    """Return whether a module does nothing but raise an error."""
    return any(node.kind() == "prim::RaiseException" for node in script.inlined_graph.nodes())


def unscripted(script: torch.jit.ScriptModule) -> torch.fx.GraphModule:
    """Return a graph of torch.fx that does what the forward of a TorchScript module does; they share tensors.

    Raises:
        DriverError: If the module has branches, or does something else that such a graph cannot express.
    """
    return _Translation(script).module


class _Translation:
    """A TorchScript graph, node by node.

    Attributes:
        module: the graph that it becomes.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        self._graph = torch.fx.Graph()
        self._tensors = torch.nn.Module()
        self._values: dict[str, _Value] = {}
        script_graph = script.inlined_graph
        # Branches on constants go, such as whether an operator was given an optional argument.
        torch._C._jit_pass_constant_propagation(script_graph)
        torch._C._jit_pass_dce(script_graph)
        own, *arguments = (each.debugName() for each in script_graph.inputs())
        self._values[own] = script
        for name in arguments:
            self._values[name] = self._graph.placeholder(name.replace(".", "_"))
        for node in script_graph.nodes():
            self._add(node)
        returned = [self._values[each.debugName()] for each in script_graph.outputs()]
        self._graph.output(returned[0] if len(returned) == 1 else tuple(returned))
        self.module = torch.fx.GraphModule(self._tensors, self._graph)

    def _add(self, node: Any) -> None:
        """Add what a node computes."""
        kind, outputs = node.kind(), [each.debugName() for each in node.outputs()]
        given = [self._values[each.debugName()] for each in node.inputs()]
        if kind == "prim::Constant":
            found = [self._constant(node)]
        elif kind == "prim::GetAttr":
            found = [self._attribute(given[0], node.s("name"))]
        elif kind in ("prim::ListConstruct", "prim::TupleConstruct"):
            found = [given]
        elif kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            found = [self._called(operator.getitem, given[0], place) for place in range(len(outputs))]
        elif kind.startswith("aten::"):
            found = [self._operator(node, given)]
        else:
            raise self._cannot(kind)
        self._values.update(zip(outputs, found, strict=True))

    def _constant(self, node: Any) -> _Value:
        value = next(node.outputs()).toIValue()
        return self._attribute_of_tensor(value) if isinstance(value, torch.Tensor) else value

    def _attribute(self, holder: Any, name: str) -> _Value:
        value = getattr(holder, name)
        return self._attribute_of_tensor(value) if isinstance(value, torch.Tensor) else value

    def _attribute_of_tensor(self, tensor: torch.Tensor) -> torch.fx.Node:
        name = f"tensor_{len(list(self._tensors.buffers()))}"
        self._tensors.register_buffer(name, tensor.detach())
        return self._graph.get_attr(name)

    def _operator(self, node: Any, given: list[_Value]) -> _Value:
        name = node.schema().split("(")[0]
        if name in _ON_SIZES:
            return self._called(_ON_SIZES[name], *given)
        packet, _, overload = name.removeprefix("aten::").partition(".")
        function = getattr(getattr(torch.ops.aten, packet), overload or "default")
        arguments = list(zip(function._schema.arguments, given, strict=True))
        while arguments and _is_default(*arguments[-1]):
            arguments.pop()
        positional = tuple(value for argument, value in arguments if not argument.kwarg_only)
        named = {argument.name: value for argument, value in arguments if argument.kwarg_only}
        if any(type(value) is int and "ScalarType" in str(argument.real_type) for argument, value in arguments):
            # TorchScript numbers the types.
            raise self._cannot(f"{name} for a type of its own")
        return self._graph.call_function(function, positional, named)

    def _called(self, function: Callable[..., Any], *given: _Value) -> _Value:
        """Return what a function gives, at once if nothing that it is given is known only when the graph runs."""
        nodes: list[torch.fx.Node] = []
        torch.fx.map_arg(given, nodes.append)
        # A list of nodes need not run to be taken apart.
        if not nodes or (function is operator.getitem and isinstance(given[0], list)):
            return function(*given)
        return self._graph.call_function(function, given)

    def _cannot(self, what: str) -> DriverError:
        return DriverError(
            f"a part of the network that is TorchScript uses {what}, which its conversion does not know; give it "
            "--format pt, and report this"
        )


def _is_default(argument: Any, value: _Value) -> bool:
    return bool(argument.has_default_value() and type(value) is type(argument.default_value)) and bool(
        value == argument.default_value
    )
