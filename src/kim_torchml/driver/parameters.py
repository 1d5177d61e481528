# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's tensors as KIM parameters: which of them, under what name, and what values they may take.

The author of a model chooses: in the table [parameters] of model.toml or, beside a parameter file, with an attribute of
the scripted module, `kim_parameters: Dict[str, str]`: dotted name of a parameter or buffer -> description. Beside a
parameter file and without the attribute, all floating-point parameters and buffers of at most LARGEST_UNNAMED entries
are published.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kim_torchml.driver.shared_memory import (
    Memory,
    find_sharing,
    memory_of,
    repeats_entries,
    share_memory,
    spans_memory,
)
from kim_torchml.engines import Program
from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import ModelDescription

ATTRIBUTE = "kim_parameters"
_TABLE = "[parameters]"
# Largest number of entries. Larger tensors are a network's weights: nobody sets them one by one, and every Refresh
# would compare them all.
LARGEST_UNNAMED = 4096
N_ELEMENTS = "n_elements"

_LONGEST_DESCRIPTION = 300
_MOST_NAMES = 10

_INT32 = np.iinfo(np.int32)


@dataclass(slots=True)
class Parameter:
    """One KIM parameter.

    Attributes:
        name: its name, a C identifier.
        description: what it is, for people.
        values: memory that KIM points to and simulators overwrite, shape [extent], float64 or int32.
        tensor: dotted name of the tensor that it stands for; None if it is read-only.
        fixed: value of a read-only one.
    """

    name: str
    description: str
    values: np.ndarray
    tensor: str | None
    fixed: int | None = None


class ParameterTemplate:
    """A model's parameters with the values of its file, from which every model that KIM creates gets its own.

    Values lie one after the other in two arrays, as a model may have hundreds of parameters.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Keep the values of parameters."""
        types = (np.dtype(np.float64), np.dtype(np.int32))
        self._memories = [
            np.concatenate([np.empty(0, kind), *(each.values for each in parameters if each.values.dtype == kind)])
            for kind in types
        ]
        used = [0 for _ in types]
        self._parts = []
        for each in parameters:
            kind, extent = types.index(each.values.dtype), len(each.values)
            part = slice(used[kind], used[kind] + extent)
            used[kind] += extent
            self._parts.append((each.name, each.description, kind, part, each.tensor, each.fixed))

    def copy(self) -> list[Parameter]:
        """Return the parameters with values in memory of the caller's own."""
        memories = [memory.copy() for memory in self._memories]
        return [
            Parameter(name, description, memories[kind][part], tensor, fixed)
            for name, description, kind, part, tensor, fixed in self._parts
        ]


@dataclass(frozen=True)
class _Choice:
    """What the author of a model wants to be published.

    Attributes:
        tensors: descriptions by dotted names.
        where: where that is said, for messages.
    """

    tensors: Mapping[str, str]
    where: str


def publish_parameters(program: Program, model: ModelDescription) -> list[Parameter]:
    """Return a model's KIM parameters, first the read-only `n_elements`, as KIM wants at least one.

    Args:
        program: The model.
        model: What its files say.
    Raises:
        DriverError: If the author's choice names what cannot be published, or two names become one.
    """
    tensors = program.tensors()
    chosen = _chosen(program, tensors, model)
    n_elements = len(model.species)
    count = np.array([n_elements], dtype=np.int32)
    parameters = [
        Parameter(N_ELEMENTS, "Number of chemical elements of the model. Read-only.", count, None, n_elements)
    ]
    tensor_of_name = {N_ELEMENTS: "the number of elements"}
    path_of_memory: dict[Memory, str] = {}
    for path, description in chosen.tensors.items():
        name = _identifier(path)
        if name in tensor_of_name:
            raise DriverError(
                f"the tensors of the model in {program.file_name} must have different names as KIM parameters, got "
                f"'{name}' for {tensor_of_name[name]} and for {path}; rename one of them, or choose with {chosen.where}"
            )
        tensor_of_name[name] = path
        tensor = tensors[path]
        same = path_of_memory.setdefault(memory_of(tensor), path)
        if same != path:
            raise DriverError(
                f"{chosen.where} of the model in {program.file_name} must name each tensor once, got the same one as "
                f"{same} and {path}; remove one of them"
            )
        values = _values(tensor, path, program.file_name, chosen.where)
        parameters.append(Parameter(name, _described(path, tensor, description), values, path))
    return parameters


def _chosen(program: Program, tensors: dict[str, torch.Tensor], model: ModelDescription) -> _Choice:
    """Return the tensors to publish, checked."""
    where = f"`{ATTRIBUTE}`"
    if model.parameters is not None:
        choice, where = model.parameters, f"{_TABLE} in {model.file_name}"
    else:
        attribute = program.attribute(ATTRIBUTE)
        if attribute is None:
            return _Choice(dict.fromkeys(_small_floating(tensors), ""), where)
        if not isinstance(attribute, dict) or not all(
            isinstance(text, str) for item in attribute.items() for text in item
        ):
            raise DriverError(
                f"{where} of the model in {program.file_name} must be of the type Dict[str, str], name of a "
                f"parameter or buffer and its description, got {type(attribute).__name__}; annotate it in the class of "
                "the module"
            )
        choice = attribute
    for path in choice:
        _check_choice(path, tensors, program.file_name, where)
        if other := _sharing_with(tensors[path], tensors):
            raise DriverError(
                f"{where} of the model in {program.file_name} must name tensors with memory of their own, got "
                f"'{path}', which shares some with {other}; clone one of them before the model is saved"
            )
    return _Choice(choice, where)


def _described(path: str, tensor: torch.Tensor, description: str) -> str:
    """Return a description on one line; its author is a stranger."""
    text = " ".join("".join(c if c.isprintable() else " " for c in description).split()).rstrip(".")
    if len(text) > _LONGEST_DESCRIPTION:
        text = f"{text[:_LONGEST_DESCRIPTION]}..."
    units = f"Tensor {path}, shape {list(tensor.shape)}, in the model's own units (Å, eV)."
    return f"{text}. {units}" if text else units


def _small_floating(tensors: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of small floating tensors with memory of their own; of tied weights, the first name."""
    sharing = find_sharing(tensors.values())
    names: dict[Memory, str] = {}
    for path, tensor in tensors.items():
        is_settable = spans_memory(tensor) and not repeats_entries(tensor)
        is_small = is_settable and tensor.is_floating_point() and tensor.numel() <= LARGEST_UNNAMED
        # To change part of another tensor's memory would change that one too.
        if is_small and memory_of(tensor) not in sharing:
            names.setdefault(memory_of(tensor), path)
    return list(names.values())


def _sharing_with(tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    """Return the name of a tensor that shares memory with one and is not the same; empty if there is none."""
    return next((path for path, other in tensors.items() if share_memory(tensor, other)), "")


def _check_choice(path: str, tensors: dict[str, torch.Tensor], file_name: str, where: str) -> None:
    tensor = tensors.get(path)
    whole = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
    is_number = tensor is not None and (tensor.is_floating_point() or tensor.dtype in whole)
    if tensor is not None and is_number and spans_memory(tensor) and not repeats_entries(tensor):
        return
    found = "nothing of that name"
    if tensor is not None:
        found = f"a tensor of {tensor.dtype}, {tensor.layout}, shape {list(tensor.shape)}"
        found += ", whose entries share memory" * (spans_memory(tensor) and repeats_entries(tensor))
    names = ", ".join(list(tensors)[:_MOST_NAMES])
    if len(tensors) > _MOST_NAMES:
        names += f", ... ({len(tensors)} in all)"
    raise DriverError(
        f"{where} of the model in {file_name} must name dense parameters or buffers of numbers, got '{path}': "
        f"{found}; there are: {names or 'none'} (a model that was frozen has none)"
    )


def _identifier(path: str) -> str:
    """Return a tensor's name as a C identifier: keys of a ParameterDict may hold anything but a dot."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", path)
    return f"_{name}" if name[:1].isdigit() else name


def _values(tensor: torch.Tensor, path: str, file_name: str, where: str = "") -> np.ndarray:
    flat = tensor.detach().to("cpu").reshape(-1)
    if tensor.is_floating_point():
        return np.array(flat.to(torch.float64).tolist())
    numbers = np.array(flat.to(torch.int64).tolist())
    if numbers.min() < _INT32.min or numbers.max() > _INT32.max:
        raise DriverError(
            f"the tensor {path} of the model in {file_name} must hold 32-bit integers to be a KIM parameter, got "
            f"numbers from {numbers.min()} to {numbers.max()}; leave it out of {where}"
        )
    return numbers.astype(np.int32)


def parameter_values(program: Program, parameters: Sequence[Parameter]) -> dict[str, np.ndarray]:
    """Return the values that a program computes with for those of the parameters that can be set, by their names."""
    tensors = program.tensors()
    return {
        each.name: _values(tensors[each.tensor], each.tensor, program.file_name)
        for each in parameters
        if each.tensor is not None
    }


def new_tensors(program: Program, changed: Sequence[Parameter]) -> dict[str, torch.Tensor]:
    """Return the tensors that stand for changed parameters, checked, by their dotted names.

    Args:
        program: The model as it is, whose tensors give shape and type.
        changed: Parameters that a simulator has set.
    Raises:
        DriverError: If a value is not finite, does not fit its tensor, or is read-only.
    """
    tensors = program.tensors()
    found = {}
    for parameter in changed:
        if parameter.tensor is None:
            raise DriverError(
                f"the parameter `{parameter.name}` is read-only: it must be {parameter.fixed}, got "
                f"{parameter.values[0]}; all parameters have been set back"
            )
        now = tensors[parameter.tensor].detach().to("cpu")
        asked = torch.from_numpy(parameter.values.copy()).reshape(now.shape)
        new = asked.to(now.dtype)
        # A number too small for the type would become 0.
        fits = torch.isfinite(new) & ((new != 0) | (asked == 0)) if new.is_floating_point() else new == asked
        # What was not a number before, as in a mask, may stay.
        stays = (new == now) | (new.isnan() & now.isnan())
        bad = (~fits & ~stays).reshape(-1).nonzero()
        if len(bad):
            place = int(bad[0])
            raise DriverError(
                f"the parameter `{parameter.name}` must be finite numbers that fit {now.dtype}, got "
                f"{parameter.values[place]} at index {place}; all parameters have been set back"
            )
        found[parameter.tensor] = new
    return found
