# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a node of a program is called with, out of the file's JSON: constants, and values that exist by then."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch

from kim_torchml.engines.exported.document import JsonObject, quoted
from kim_torchml.engines.exported.graph import Value
from kim_torchml.engines.exported.operators import PATTERNS, VALUES, OperatorParameter
from kim_torchml.engines.exported.weights import STRIDED, dtype_of
from kim_torchml.errors import DriverError

_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
# A program exported on any of these runs on the device that the model is opened for.
_DEVICES = ("cpu", "cuda", "mps", "xpu")
# Numbers that JSON does not have, as torch writes them.
_SPECIAL_NUMBERS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}
# Kinds of arguments for each type of an operator's parameter. A number may stand for a tensor, but not for a type:
# torch does not check the numbers of types and layouts, and wrong ones end the process.
_NUMBERS = ("as_int", "as_float", "as_bool", "as_sym_int", "as_sym_float", "as_sym_bool")
_KINDS = {
    "Tensor": ("as_tensor", *_NUMBERS),
    "List[Tensor]": ("as_tensors",),
    "List[Optional[Tensor]]": ("as_tensors", "as_optional_tensors"),
    "int": ("as_int", "as_sym_int"),
    "List[int]": ("as_ints", "as_sym_ints", "as_int", "as_sym_int"),
    "float": ("as_float", "as_int", "as_sym_float", "as_sym_int"),
    "bool": ("as_bool", "as_sym_bool"),
    "number": _NUMBERS,
    "str": ("as_string",),
    "Device": ("as_device",),
    "Layout": ("as_layout",),
    "MemoryFormat": ("as_memory_format",),
    "ScalarType": ("as_scalar_type",),
}
_OPTIONAL = re.compile(r"Optional\[(.+)\]")


class ArgumentReader:
    """Reads the arguments of nodes.

    Attributes:
        tensors: values of tensors that exist, by their names in the file.
        sizes: values of sizes, truth values and other numbers that exist, by their names in the file.
    """

    def __init__(self, device: torch.device) -> None:
        """Keep the device that the program is to run on."""
        self.tensors: dict[str, Value] = {}
        self.sizes: dict[str, Value] = {}
        self._device = device
        self._readers: Mapping[str, Callable[[JsonObject, str], Any]] = {
            "as_none": lambda said, key: None,
            "as_tensor": lambda said, key: self.tensor(said.object(key)),
            "as_tensors": lambda said, key: [self.tensor(each) for each in said.objects(key)],
            "as_optional_tensor": lambda said, key: self._optional_tensor(said.object(key)),
            "as_optional_tensors": lambda said, key: [self._optional_tensor(each) for each in said.objects(key)],
            "as_int": lambda said, key: said.integer(key),
            "as_ints": lambda said, key: [said.as_integer(each, key) for each in said.items(key)],
            "as_string": lambda said, key: said.text(key),
            "as_float": lambda said, key: _number(said.value(key), said, key),
            "as_bool": lambda said, key: said.flag(key),
            "as_sym_int": lambda said, key: self._size(said.object(key)),
            "as_sym_ints": lambda said, key: [self._size(each) for each in said.objects(key)],
            "as_sym_float": lambda said, key: self._size(said.object(key)),
            "as_sym_bool": lambda said, key: self._size(said.object(key)),
            "as_scalar_type": dtype_of,
            "as_memory_format": _memory_format,
            "as_layout": _layout,
            "as_device": lambda said, key: self._on_own_device(said.object(key)),
        }

    def read(self, said: JsonObject, operator: str, parameter: OperatorParameter) -> Any:
        """Return one argument.

        Args:
            said: What the file says of it: an object whose one key tells the kind of argument.
            operator: Name of the operator, such as "aten.add.Tensor".
            parameter: The operator's parameter.
        Raises:
            DriverError: If it is of a kind, or has a value, that is not allowed there.
        """
        kind, allowed = said.choice(), _kinds_of(parameter.type)
        if kind not in allowed:
            raise DriverError(
                f"the program in the model file {said.file_name} gives {operator} the argument {parameter.name} of the "
                f"kind {quoted(kind)}, which must be {' or '.join(allowed) or 'left out'}; export a model without it"
            )
        argument = self._readers[kind](said, kind)
        _check_listed(argument, operator, parameter.name, said)
        return argument

    def read_number(self, said: JsonObject) -> Any:
        """Return an operand of arithmetic on sizes: a size, or a number."""
        kind = said.choice()
        if kind not in _NUMBERS:
            raise said.error(f"must be a size or a number, got {quoted(kind)}")
        return self._readers[kind](said, kind)

    def tensor(self, said: JsonObject) -> Value:
        """Return the tensor that an object names."""
        return _existing(self.tensors, said, "name")

    def _optional_tensor(self, said: JsonObject) -> Value | None:
        return None if said.choice() == "as_none" else self.tensor(said.object("as_tensor"))

    def _size(self, said: JsonObject) -> Any:
        kind = said.choice()
        if kind == "as_name":
            return _existing(self.sizes, said, kind)
        if kind not in ("as_int", "as_float", "as_bool"):
            raise said.error(f"must be a name or a number, got {quoted(kind)}")
        return self._readers[kind](said, kind)

    def _on_own_device(self, said: JsonObject) -> torch.device:
        if said.text("type") not in _DEVICES:
            raise said.error(f"must be one of {', '.join(_DEVICES)}, got {quoted(said.text('type'))}", "type")
        return self._device


@cache
def _kinds_of(parameter_type: str) -> tuple[str, ...]:
    """Return the kinds of arguments for a type of an operator's parameter."""
    optional = _OPTIONAL.fullmatch(parameter_type)
    if optional is None:
        return _KINDS.get(parameter_type, ())
    tensor = ("as_optional_tensor",) if optional[1] == "Tensor" else ()
    return (*_KINDS.get(optional[1], ()), *tensor, "as_none")


def _existing(values: Mapping[str, Value], said: JsonObject, key: str) -> Value:
    name = said.text(key)
    if name not in values:
        raise said.error(f"must name what has been computed before, got {quoted(name)}", key)
    return values[name]


def _check_listed(argument: Any, operator: str, parameter: str, said: JsonObject) -> None:
    """Raise where a text, or an argument with values of its own list, is none of those that are allowed."""
    pattern, allowed = PATTERNS.get((operator, parameter)), VALUES.get((operator, parameter))
    if pattern is not None:
        if isinstance(argument, str) and pattern.fullmatch(argument):
            return
    elif allowed is not None:
        # A size would compare equal to nothing, and 0 to False.
        if any(argument is each or (isinstance(each, str) and argument == each) for each in allowed):
            return
    elif not isinstance(argument, str):
        return
    expected = "of letters, dots, commas and an arrow" if pattern else "no text"
    if allowed is not None:
        expected = " or ".join(map(repr, allowed))
    found = "another size" if isinstance(argument, Value) else quoted(argument)
    raise DriverError(
        f"the program in the model file {said.file_name} gives {operator} the argument {parameter} = {found}, which "
        f"must be {expected}; export a model without it"
    )


def _number(found: Any, said: JsonObject, key: str) -> float:
    if isinstance(found, str) and found in _SPECIAL_NUMBERS:
        return _SPECIAL_NUMBERS[found]
    if isinstance(found, float):
        return found
    return float(said.as_integer(found, key))


def _layout(said: JsonObject, key: str) -> torch.layout:
    if said.integer(key) != STRIDED:
        raise said.error(f"must be {STRIDED}, dense tensors, got {said.integer(key)}", key)
    return torch.strided


def _memory_format(said: JsonObject, key: str) -> torch.memory_format:
    if said.integer(key) not in _MEMORY_FORMATS:
        raise said.error(f"must be one of {sorted(_MEMORY_FORMATS)}, got {said.integer(key)}", key)
    return _MEMORY_FORMATS[said.integer(key)]
