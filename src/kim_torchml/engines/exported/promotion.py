# SPDX-License-Identifier: LGPL-2.1-or-later
"""Results whose floating type torch takes from the process, such as an integer divided by an integer.

The host may have chosen another default type than the author of a program. The file says which type each result had
when the program was exported. Integers that are made numbers of that type beforehand give just that, because torch
would have converted them likewise.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from kim_torchml.engines.exported.graph import Node, Value
from kim_torchml.engines.exported.operators import Operator, find_operator

# Their first argument is a condition, which stays one.
_CHOOSING = ("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf")
_OF_TWO_NUMBERS = "aten.where.Scalar"
# Its result is float64 in any process, and it takes integers alone.
_COUNTING = "aten.bincount.default"


def with_stated_type(
    node: Node, types: Mapping[int, torch.dtype | None], new: Callable[[], Value], device: torch.device
) -> list[Node]:
    """Return calls that give what one did when it was exported, whatever the process's default type is.

    Args:
        node: The call.
        types: Types of tensors by their numbers, as the file states them; None where it states none.
        new: Gives a value for a further result.
        device: What the program is to run on.
    """
    stated = _floating_type(node, types)
    given = [types[value.number] for value in node.values() if value.number in types]
    if stated is None or not given or any(each is None or each.is_floating_point for each in given):
        return [node]
    if node.operator == _COUNTING or any(isinstance(each, torch.dtype) for each in _all_arguments(node)):
        return [node]
    if node.operator == _OF_TWO_NUMBERS:
        return _choice_of_tensors(node, stated, new, device)
    conversions: list[Node] = []

    def converted(argument: Any) -> Any:
        if isinstance(argument, list):
            return [converted(each) for each in argument]
        if not isinstance(argument, Value) or argument.number not in types:
            return argument
        value = new()
        conversions.append(_call("_to_copy.default", (argument,), {"dtype": stated}, value))
        return value

    kept = 1 if node.operator in _CHOOSING else 0
    arguments = (*node.arguments[:kept], *map(converted, node.arguments[kept:]))
    keywords = {name: converted(argument) for name, argument in node.keywords.items()}
    return [*conversions, replace(node, arguments=arguments, keywords=keywords)]


def _floating_type(node: Node, types: Mapping[int, torch.dtype | None]) -> torch.dtype | None:
    """Return the floating type that a result is stated to have; None if there is none."""
    found = (types.get(each.number) for each in node.outputs if each is not None)
    return next((each for each in found if each is not None and each.is_floating_point), None)


def _all_arguments(node: Node) -> tuple[Any, ...]:
    return (*node.arguments, *node.keywords.values())


def _choice_of_tensors(node: Node, stated: torch.dtype, new: Callable[[], Value], device: torch.device) -> list[Node]:
    """Return the calls that choose between two numbers of a type."""
    condition, *numbers = node.arguments
    values = [new() for _ in numbers]
    keywords = {"dtype": stated, "device": device}
    made = [
        _call("scalar_tensor.default", (number,), keywords, value)
        for number, value in zip(numbers, values, strict=True)
    ]
    return [*made, _call("where.self", (condition, *values), {}, *node.outputs)]


def _call(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any], *outputs: Value | None) -> Node:
    operator = find_operator(f"torch.ops.aten.{name}")
    assert isinstance(operator, Operator)
    return Node(operator.name, operator.function, arguments, keywords, outputs, False)
