# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is asked of the process that compiles, and what it answers, as JSON between the two."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from kim_torchml.engines.contract import CallSignature

ENERGY_TYPES = {"float32": torch.float32, "float64": torch.float64}
_TYPES = ENERGY_TYPES | {"int32": torch.int32, "int64": torch.int64, "bool": torch.bool}


@dataclass(frozen=True)
class PlainArgument:
    """An argument of a program, as `contract.CallArgument` has it."""

    name: str
    dtype: torch.dtype | None
    sizes: tuple[int | str, ...]
    below: str | None


@dataclass(frozen=True)
class PlainSignature:
    """What a program is called with, as `contract.CallSignature` has it."""

    arguments: tuple[PlainArgument, ...]
    leaf: str
    dtype: torch.dtype | None
    returns_forces: bool = False
    source: str = "the model's files say"
    returns_stated: str = "the model's files say"


@dataclass(frozen=True)
class PlainInputs:
    """The tensors of one call, as `contract.ProgramInputs` has them; all rows contribute."""

    arguments: tuple[torch.Tensor, ...]
    leaf: torch.Tensor
    n_rows: int
    contributing_rows: slice | torch.Tensor = field(default_factory=lambda: slice(None))


@dataclass(frozen=True)
class CompileRequest:
    """A program to compile.

    Attributes:
        file: path of the model file.
        file_name: its name, for messages.
        folder: folder for the native code, which is there.
        device: device to compile for.
        signature: what the program is called with.
        leaf: place of the argument that energies are differentiated by.
    """

    file: str
    file_name: str
    folder: str
    device: str
    signature: PlainSignature
    leaf: int

    @classmethod
    def of(
        cls, file: str, file_name: str, folder: str, device: torch.device, signature: CallSignature
    ) -> "CompileRequest":
        """Return the request for a program that is called with what a signature says."""
        arguments = tuple(
            PlainArgument(each.name, each.dtype, tuple(each.sizes), each.below) for each in signature.arguments
        )
        leaf = [each.name for each in arguments].index(signature.leaf)
        plain = PlainSignature(arguments, signature.leaf, signature.dtype)
        return cls(file, file_name, folder, str(device), plain, leaf)

    def to_json(self) -> str:
        """Return the request as text."""
        return json.dumps(asdict(self), default=lambda dtype: str(dtype).removeprefix("torch."))

    @classmethod
    def from_json(cls, text: str) -> "CompileRequest":
        """Return the request that a text is."""
        said = json.loads(text)
        signature = said.pop("signature")
        arguments = tuple(
            PlainArgument(each["name"], _dtype(each["dtype"]), tuple(each["sizes"]), each["below"])
            for each in signature.pop("arguments")
        )
        return cls(
            **said,
            signature=PlainSignature(**{**signature, "arguments": arguments, "dtype": _dtype(signature["dtype"])}),
        )


@dataclass(frozen=True)
class Facts:
    """What a compiled program turned out to be.

    Attributes:
        library: name of the file with the native code.
        energies: type of the energies.
        speed_ups: how many times faster it is than the program run operator by operator, by number of CPU threads.
        seconds: how long compiling took, s.
    """

    library: str
    energies: str
    speed_ups: dict[int, float]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Facts":
        """Return the facts that JSON has.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: If something else is there.
        """
        speed_ups = {int(threads): float(speed_up) for threads, speed_up in said["speed_ups"].items()}
        if said["energies"] not in ENERGY_TYPES or 1 not in speed_ups:
            raise ValueError("type of energies or speed")
        return cls(str(said["library"]), said["energies"], speed_ups, float(said["seconds"]))


def example_of(request: CompileRequest, sizes: Mapping[str, int], dtype: torch.dtype, n_of_tables: int) -> PlainInputs:
    """Return inputs of random numbers: indices of what is there, and vectors of 0.8 to 5 units of length.

    Args:
        request: What is compiled.
        sizes: Sizes by the words that the signature has for them.
        dtype: Type of the floating inputs that have none of their own.
        n_of_tables: Number of rows that all tables have which the first argument is an index of; 1 where there is none.
    """
    signature, leaf, device = request.signature, request.leaf, torch.device(request.device)
    cpu = torch.device("cpu")
    random = torch.Generator(cpu).manual_seed(1)
    tensors: list[torch.Tensor] = []
    for argument in signature.arguments:
        shape = [each if isinstance(each, int) else sizes[each] for each in argument.sizes]
        if argument.dtype is None or argument.dtype.is_floating_point:
            directions = torch.randn(shape, generator=random, dtype=torch.float64, device=cpu)
            lengths = 0.8 + 4.2 * torch.rand([*shape[:-1], 1], generator=random, dtype=torch.float64, device=cpu)
            tensor = (directions / directions.norm(dim=-1, keepdim=True) * lengths).to(argument.dtype or dtype)
        elif argument.below is not None:
            tensor = torch.randint(
                0, max(sizes[argument.below], 1), shape, generator=random, dtype=argument.dtype, device=cpu
            )
        else:
            tensor = torch.randint(0, n_of_tables, shape, generator=random, dtype=argument.dtype, device=cpu)
        tensors.append(tensor.to(device))
    tensors[leaf].requires_grad_(True)
    return PlainInputs(tuple(tensors), tensors[leaf], sizes["n"])


def _dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else _TYPES[name]
