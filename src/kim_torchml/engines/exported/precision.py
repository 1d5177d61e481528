# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same program in double precision.

A program says the type of every tensor that it makes, so that weights of another type alone would mix types.
"""

from dataclasses import replace
from typing import Any

import torch

from kim_torchml.engines.exported.graph import Node, ProgramGraph


def in_double(graph: ProgramGraph) -> ProgramGraph:
    """Return a program with float64 wherever it says another floating type.

    Numbers that its operators are called with are Python's, which are of double precision already.
    """
    inputs = [replace(each, dtype=_double(each.dtype)) for each in graph.inputs]
    return replace(graph, inputs=inputs, nodes=[_with_doubles(node) for node in graph.nodes])


def _with_doubles(node: Node) -> Node:
    keywords = {name: _double(argument) for name, argument in node.keywords.items()}
    return replace(node, arguments=tuple(map(_double, node.arguments)), keywords=keywords)


def _double(argument: Any) -> Any:
    """Return an argument of an operator; float64 where it is a floating type."""
    return torch.float64 if isinstance(argument, torch.dtype) and argument.is_floating_point else argument
