# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an author may not expect of an exported program: found in its graph, and told with the line of the code."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import statically_known_true

from kim_torchml.engines.facts import type_word
from kim_torchml.tools.package.code_lines import in_brackets, line_of_trace

_PRODUCTS = ("bmm", "baddbmm", "matmul", "einsum")
_SETS_ENTRIES = ("index_put", "index_put_", "index_copy", "index_copy_", "scatter", "scatter_")
# Parts of a program that stand for a `with` in the code, which an author does not know by these names.
_BLOCKS = {
    "wrap_with_set_grad_enabled": "that is torch.no_grad() or torch.enable_grad(); call .detach() on tensors instead",
    "wrap_with_autocast": "that is torch.autocast(); convert tensors with .to(..) instead",
}
# What gives a part of its first argument, in the same order.
_PARTS = ("select", "slice", "narrow", "unbind", "split", "chunk", "squeeze", "reshape", "view", "getitem", "clone",
          "contiguous", "flatten", "detach", "to", "_to_copy")  # fmt: skip
# A number that single precision holds exactly has few digits beyond this power of two, such as 0.25 or 3.
_FEW_DIGITS = 2.0**10


def doubts_about(program: torch.export.ExportedProgram, dtype: torch.dtype) -> list[str]:
    """Return what an author should know of a program that can be run, a sentence each.

    Args:
        program: The program.
        dtype: Type of the floating inputs.
    """
    found = [*_products_of_unknown_size(program), *_entries_set_by_edges(program), *_literals(program, dtype)]
    return list(dict.fromkeys(found))


def line_of_refused(message: str, program: torch.export.ExportedProgram) -> str:
    """Return the end of a message: which line of code uses the operator that it names, and what that stands for.

    Args:
        message: Why the driver does not take a program.
        program: The program.
    """
    names = re.findall(r"\b(?:aten|higher_order)\.(\w+)", message)
    found = list(_calls(program, tuple(names)))
    told = "".join(f": {_BLOCKS[each]}" for each in names[:1] if each in _BLOCKS)
    # Of several calls not all need be wrong.
    return f"{_at(_first_inside(found[0], program))}{told}" if len(found) == 1 else told


def _first_inside(node: Node, program: torch.export.ExportedProgram) -> Node:
    """Return the first call in the graph that a node calls, which alone says where it comes from; else the node."""
    graphs = (each.target for each in node.all_input_nodes if each.op == "get_attr")
    found = [getattr(program.graph_module, str(name), None) for name in graphs]
    inside = (each for module in found if isinstance(module, torch.fx.GraphModule) for each in module.graph.nodes)
    return next((each for each in inside if each.op == "call_function"), node)


def _products_of_unknown_size(program: torch.export.ExportedProgram) -> Iterator[str]:
    """Yield products of several matrices at once of which Inductor must know whether a size is 1, and cannot."""
    for node in _calls(program, _PRODUCTS):
        if any(_may_be_one(each) for each in node.all_input_nodes):
            yield (
                "the size of a product of several matrices depends on values, such as how many rows are of a species"
                f"{_at(node)}: the program runs, but cannot be compiled; compute all rows, and choose with "
                "torch.where, or add two rows to those that are chosen"
            )


def _may_be_one(node: Node) -> bool:
    """Return whether several matrices have a size that depends on values, and that may be 0 or 1."""
    value = node.meta.get("val")
    sizes: list[Any] = list(value.shape) if isinstance(value, torch.Tensor) else []
    # Torch calls such sizes u0, u1, ..
    return len(sizes) > 2 and any(
        re.search(r"\bu\d", str(each)) and not statically_known_true(each > 1)
        for each in sizes
        if not isinstance(each, int)
    )


def _entries_set_by_edges(program: torch.export.ExportedProgram) -> Iterator[str]:
    """Yield what is set by the centres or neighbours of edges: of several edges of a row, one alone counts then."""
    _, edge_index, *_ = program.graph_signature.user_inputs
    for node in _calls(program, _SETS_ENTRIES):
        accumulates = any(argument is True for argument in (*node.args[3:], node.kwargs.get("accumulate")))
        if not accumulates and any(_part_of(each) == edge_index for each in _flat(node.args[1:])):
            yield (
                f"entries are set, not added, where rows have several edges{_at(node)}: one edge of each row counts; "
                "use index_add"
            )


def _part_of(argument: object) -> str | None:
    """Return the name of the input that a value is a part of; None if it is none."""
    while isinstance(argument, Node) and argument.op == "call_function" and _name(argument) in _PARTS:
        argument = argument.args[0]
    return argument.name if isinstance(argument, Node) and argument.op == "placeholder" else None


def _literals(program: torch.export.ExportedProgram, dtype: torch.dtype) -> Iterator[str]:
    """Yield tensors that the code makes out of numbers, in fewer digits than the model computes with."""
    constants = {each: program.constants.get(name) for each, name in _constant_names(program).items()}
    for node in _calls(program, ("lift_fresh_copy", "lift_fresh")):
        source = node.args[0]
        tensor = constants.get(source.name) if isinstance(source, Node) else None
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            continue
        if tensor.dtype.itemsize < dtype.itemsize and not _has_few_digits(tensor):
            name, wanted = map(type_word, (tensor.dtype, dtype))
            yield (
                f"numbers are rounded to {name} in a model of {wanted}{_at(node)}: make a tensor out of numbers a "
                f"buffer, in __init__, or say dtype=torch.{wanted}"
            )


def _constant_names(program: torch.export.ExportedProgram) -> dict[str, str]:
    """Return the names of constants by the names of the values that stand for them."""
    specs = program.graph_signature.input_specs
    return {each.arg.name: each.target for each in specs if each.kind.name == "CONSTANT_TENSOR" and each.target}


def _has_few_digits(tensor: torch.Tensor) -> bool:
    scaled = tensor.double() * _FEW_DIGITS
    return bool((scaled == scaled.round()).all())


def _calls(program: torch.export.ExportedProgram, names: tuple[str, ...]) -> Iterator[Node]:
    return (node for node in program.graph.nodes if node.op == "call_function" and _name(node) in names)


def _name(node: Node) -> str:
    """Return the name of the operator that a node calls, such as "add"."""
    packet = getattr(node.target, "overloadpacket", node.target)
    return str(getattr(packet, "__name__", packet))


def _flat(arguments: object) -> Iterator[object]:
    if isinstance(arguments, list | tuple):
        for each in arguments:
            yield from _flat(each)
    else:
        yield arguments


def _at(node: Node) -> str:
    return in_brackets(line_of_trace(node.meta.get("stack_trace")))
