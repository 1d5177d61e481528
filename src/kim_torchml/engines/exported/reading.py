# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graph of a program out of the JSON of a .pt2 file."""

from collections.abc import Sequence
from typing import Any

import torch

from kim_torchml.engines.exported.archive import EXPORT_AGAIN, ProgramArchive
from kim_torchml.engines.exported.arguments import ArgumentReader
from kim_torchml.engines.exported.document import JsonObject, quoted
from kim_torchml.engines.exported.graph import InputFacts, Node, ProgramGraph, Value
from kim_torchml.engines.exported.operators import ASSERTIONS, SIZE_FUNCTIONS, Operator, find_operator
from kim_torchml.engines.exported.promotion import with_stated_type
from kim_torchml.engines.exported.sizes import is_arithmetic, symbol_of
from kim_torchml.engines.exported.weights import DTYPES, dtype_of
from kim_torchml.errors import DriverError

# Of the layout and of the kinds of arguments that are read here; minor versions add to it.
SCHEMA = 8
_MOST_NODES = 100_000
_MOST_OUTPUTS = 1_000_000
# What a file says that its program is called with besides tensors, and that it changes; with what to do.
WEIGHT_NAMES = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
# What operators return, as their schemas have it, and how a file names it.
_SIZE_KINDS = ("as_sym_int", "as_sym_float", "as_sym_bool")
_KINDS_OF_RETURNS = {
    "Tensor": ("as_tensor",),
    "List[Tensor]": ("as_tensors",),
    **dict.fromkeys(("int", "number", "bool", "float"), _SIZE_KINDS),
}


def read_graph(archive: ProgramArchive, device: torch.device) -> ProgramGraph:
    """Return the program in a file.

    Args:
        archive: The file's entries.
        device: What the program is to run on.
    Raises:
        DriverError: If it is of another version, damaged, or uses what programs must not use.
    """
    program = archive.json(f"models/{archive.model}.json")
    _check_version(program)
    return _GraphReader(program.object("graph_module"), device, _writer_of(program)).read()


def _check_version(program: JsonObject) -> None:
    version = program.object("schema_version")
    if version.integer("major") != SCHEMA:
        raise DriverError(
            f"the program in the model file {program.file_name} must be of the version {SCHEMA} of torch's format, got "
            f"{version.integer('major')}.{version.integer('minor')}, written by {_writer_of(program)}; "
            f"{EXPORT_AGAIN}, or update kim-torchml for a newer one"
        )


def _writer_of(program: JsonObject) -> str:
    """Return which torch has written a program, for messages."""
    version = program.value("torch_version") if program.has("torch_version") else None
    return f"torch {quoted(version)}" if isinstance(version, str) else "an unknown version of torch"


class _GraphReader:
    """Reads one graph."""

    def __init__(self, module: JsonObject, device: torch.device, writer: str) -> None:
        self._graph = module.object("graph")
        self._signature = module.object("signature")
        self._file_name = module.file_name
        self._writer = writer
        self._device = device
        self._arguments = ArgumentReader(device)
        self._metas = dict(self._graph.named("tensor_values"))
        self._types: dict[int, torch.dtype | None] = {}
        self._n_values = 0

    def read(self) -> ProgramGraph:
        """Return the graph, checked."""
        nodes = self._graph.items("nodes")
        if len(nodes) > _MOST_NODES:
            raise self._graph.error(f"must have at most {_MOST_NODES} nodes, got {len(nodes)}", "nodes")
        for meta in self._metas.values():
            self._check_sizes([*meta.items("sizes"), *meta.items("strides"), meta.value("storage_offset")])
        for key in ("sym_int_values", "sym_bool_values", "sym_float_values"):
            if self._graph.has(key):
                values = self._graph.object(key)
                self._check_sizes([values.value(name) for name, _ in self._graph.named(key)])
        inputs, weights, constants = self._read_inputs()
        read = [node for each in self._graph.objects("nodes") if (node := self._read_node(each)) is not None]
        made = [call for node in read for call in with_stated_type(node, self._types, self._unnamed, self._device)]
        graph = ProgramGraph(inputs, weights, constants, made, self._read_outputs(), self._n_values)
        changing = graph.changing_shared()
        if changing is not None:
            raise DriverError(
                f"the program in the model file {self._file_name} changes with {changing.operator} what may be an "
                "input or a weight of the model; change copies of them, or use what returns new tensors, such as "
                "x.index_add() in place of x.index_add_()"
            )
        return graph

    def _check_sizes(self, sizes: Sequence[Any]) -> None:
        """Raise where an expression for a size is more than arithmetic."""
        for size in sizes:
            expression = size.get("as_expr") if isinstance(size, dict) else None
            if expression is None:
                continue
            text = JsonObject(expression, "as_expr", self._file_name).text("expr_str")
            if not is_arithmetic(text):
                raise DriverError(
                    f"the program in the model file {self._file_name} has the size {quoted(text)}, which is no "
                    "arithmetic of sizes; it has not been evaluated. Use this file only if you trust its author, and "
                    "ask for one without it"
                )

    def _new(self, values: dict[str, Value], name: str, where: JsonObject) -> Value:
        """Return a new value that has a name in the file."""
        if name in self._arguments.tensors or name in self._arguments.sizes:
            raise where.error(f"must give each name once, got {quoted(name)} again")
        if self._n_values >= _MOST_OUTPUTS:
            raise where.error(f"must be one of at most {_MOST_OUTPUTS} values")
        values[name] = self._unnamed()
        if values is self._arguments.tensors:
            self._types[values[name].number] = self._type_of(name)
        return values[name]

    def _unnamed(self) -> Value:
        self._n_values += 1
        return Value(self._n_values - 1)

    def _type_of(self, name: str) -> torch.dtype | None:
        """Return the type that a tensor is stated to have; None if none is stated that programs may compute with."""
        number = self._metas[name].value("dtype") if name in self._metas else None
        return DTYPES.get(number) if isinstance(number, int) else None

    def _read_inputs(self) -> tuple[list[InputFacts], dict[str, Value], dict[str, Value]]:
        inputs: list[InputFacts] = []
        weights: dict[str, Value] = {}
        constants: dict[str, Value] = {}
        for said in self._signature.objects("input_specs"):
            kind = said.choice()
            inside = said.object(kind)
            if kind == "user_input":
                name = _only(inside.object("arg"), "as_tensor").text("name")
                inputs.append(self._facts(name, inside))
            elif kind in WEIGHT_NAMES:
                value = self._new(self._arguments.tensors, inside.object("arg").text("name"), inside)
                held, name = constants if kind == "tensor_constant" else weights, inside.text(WEIGHT_NAMES[kind])
                if name in weights or name in constants:
                    raise inside.error(f"must name each weight once, got {quoted(name)} again")
                held[name] = value
            else:
                raise DriverError(
                    f"the program in the model file {self._file_name} must be called with tensors alone, got an input "
                    f"of the kind {quoted(kind)}; export a model whose forward takes tensors"
                )
        return inputs, weights, constants

    def _facts(self, name: str, where: JsonObject) -> InputFacts:
        value = self._new(self._arguments.tensors, name, where)
        meta = self._meta(name, where)
        sizes = [_size_of(each) for each in meta.objects("sizes")]
        return InputFacts(name, value, dtype_of(meta, "dtype"), tuple(sizes))

    def _read_outputs(self) -> list[Value]:
        outputs = []
        for said in self._signature.objects("output_specs"):
            kind = said.choice()
            if kind != "user_output":
                raise DriverError(
                    f"the program in the model file {self._file_name} must return energies alone, got an output of the "
                    f"kind {quoted(kind)}; export a model in evaluation mode that changes none of its buffers"
                )
            outputs.append(self._arguments.tensor(_only(said.object(kind).object("arg"), "as_tensor")))
        return outputs

    def _read_node(self, said: JsonObject) -> Node | None:
        """Return a node; None for an assertion."""
        target = said.text("target")
        if target in ASSERTIONS:
            return None
        if target in SIZE_FUNCTIONS:
            return self._read_size_node(said, target)
        try:
            operator = find_operator(target)
        except AttributeError as error:
            raise DriverError(
                f"torch {torch.__version__} does not know the operator {target} of the program in the model file "
                f"{self._file_name}, which {self._writer} has written: use that version, or a newer one"
            ) from error
        if operator is None:
            raise DriverError(
                f"the program in the model file {self._file_name} uses {quoted(target)}, which is not among the "
                "operators that programs may use; it has not been run. Export the model without it"
            )
        arguments, keywords = self._call_of(said, operator)
        if operator.is_maker:
            keywords = self._as_when_exported(said, keywords)
        outputs, is_list = self._outputs_of(said, operator)
        return Node(operator.name, operator.function, arguments, keywords, outputs, is_list)

    def _read_size_node(self, said: JsonObject, target: str) -> Node:
        function, count = SIZE_FUNCTIONS[target]
        given = [self._arguments.read_number(each.object("arg")) for each in said.objects("inputs")]
        if len(given) != count:
            raise said.error(f"must have {count} inputs for {target}, got {len(given)}")
        outputs = said.objects("outputs")
        if len(outputs) != 1:
            raise said.error(f"must have one output, got {len(outputs)}")
        return Node(target, function, tuple(given), {}, (self._named_size(outputs[0]),), False)

    def _call_of(self, said: JsonObject, operator: Operator) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what an operator is called with, in the order of its schema and by name."""
        given: dict[str, JsonObject] = {}
        for each in said.objects("inputs"):
            name = each.text("name")
            if name in given:
                raise each.error(f"must give each argument once, got {quoted(name)} again")
            given[name] = each.object("arg")
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        n_given = 0
        for parameter in operator.parameters:
            is_given = parameter.name in given
            if is_given:
                argument = self._arguments.read(given.pop(parameter.name), operator.name, parameter)
            elif parameter.has_default:
                argument = parameter.default
            else:
                raise said.error(f"must give {operator.name} the argument {parameter.name}")
            if not parameter.is_keyword:
                arguments.append(argument)
                n_given = len(arguments) if is_given else n_given
            elif is_given:
                keywords[parameter.name] = argument
        if given:
            raise said.error(f"must give {operator.name} what it takes, got {quoted(next(iter(given)))}")
        # Defaults fill gaps alone: torch looks at whatever it is given.
        return tuple(arguments[:n_given]), keywords

    def _as_when_exported(self, said: JsonObject, keywords: dict[str, Any]) -> dict[str, Any]:
        """Return type and device of a new tensor as they were in the author's process, not torch's defaults in this."""
        output = _only(said.objects("outputs")[0], "as_tensor") if said.items("outputs") else said
        dtype, device = keywords.get("dtype"), keywords.get("device")
        if dtype is None:
            dtype = dtype_of(self._meta(output.text("name"), said), "dtype")
        return {**keywords, "dtype": dtype, "device": self._device if device is None else device}

    def _meta(self, name: str, where: JsonObject) -> JsonObject:
        if name not in self._metas:
            raise where.error(f"must be described in tensor_values, got {quoted(name)}")
        return self._metas[name]

    def _outputs_of(self, said: JsonObject, operator: Operator) -> tuple[tuple[Value | None, ...], bool]:
        """Return the values that an operator returns, and whether it returns them in a list or tuple."""
        outputs, returns = said.objects("outputs"), operator.returns
        if len(outputs) != len(returns):
            raise said.error(f"must have {len(returns)} outputs of {operator.name}, got {len(outputs)}")
        for output, expected in zip(outputs, returns, strict=True):
            if output.choice() not in (*_KINDS_OF_RETURNS[expected], "as_none"):
                raise output.error(f"must be {' or '.join(_KINDS_OF_RETURNS[expected])}, got {output.choice()}")
        if returns == ("List[Tensor]",):
            names = _only(outputs[0], "as_tensors").objects("as_tensors")
            return tuple(self._new(self._arguments.tensors, each.text("name"), each) for each in names), True
        return tuple(map(self._named, outputs)), len(returns) > 1

    def _named(self, output: JsonObject) -> Value | None:
        kind = output.choice()
        if kind == "as_none":
            return None
        if kind in _SIZE_KINDS:
            return self._named_size(output)
        return self._new(self._arguments.tensors, output.object(kind).text("name"), output)

    def _named_size(self, output: JsonObject) -> Value | None:
        """Return the value of a size; None where the file has replaced the size by a number."""
        kind = output.choice()
        if kind not in _SIZE_KINDS:
            raise output.error(f"must be a size, got {quoted(kind)}")
        inside = output.object(kind)
        if inside.choice() != "as_name":
            return None
        return self._new(self._arguments.sizes, inside.text("as_name"), inside)


def _only(said: JsonObject, kind: str) -> JsonObject:
    """Return what an object holds under its one key."""
    if said.choice() != kind:
        raise said.error(f"must be {kind}, got {quoted(said.choice())}")
    return said.object(kind) if kind == "as_tensor" else said


def _size_of(said: JsonObject) -> int | str | None:
    """Return a size of an input; see InputFacts."""
    if said.choice() == "as_int":
        return said.integer("as_int")
    return symbol_of(said.object("as_expr").text("expr_str"))
