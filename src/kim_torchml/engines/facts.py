# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model file shows that stands alone, whatever it is to be called with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class TensorFacts:
    """A tensor that a program holds, takes or returns.

    Attributes:
        name: its name.
        dtype: word for the type of its entries.
        shape: its sizes; a word where one changes from call to call.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ProgramFacts:
    """What a model file shows that stands alone.

    Attributes:
        format: what its format is called.
        arguments: names of the arguments of its forward.
        n_required: how many of them must be given.
        dtype: floating type of its inputs.
        tensors: its parameters and buffers.
        extra_files: names of the files that its author has put into it.
        versions: versions of what has written it, by name; none where the format does not say.
        inputs: the tensors that it takes; None where the format does not say.
        outputs: the tensors that it returns; None where the format does not say.
        constants: its other constant tensors.
        n_nodes: number of calls of operators in it; None where that is not counted.
        operators: names of these operators; None where they are not counted.
        refused_operators: those of them that programs must not use, or that the installed torch does not have.
        has_sample_inputs: whether examples of inputs are in it.
        problem: why it would not be run, or an empty string.
    """

    format: str
    arguments: tuple[str, ...]
    n_required: int
    dtype: str
    tensors: tuple[TensorFacts, ...]
    extra_files: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[TensorFacts, ...] | None = None
    outputs: tuple[TensorFacts, ...] | None = None
    constants: tuple[TensorFacts, ...] = ()
    n_nodes: int | None = None
    operators: tuple[str, ...] | None = None
    refused_operators: tuple[str, ...] = ()
    has_sample_inputs: bool = False
    problem: str = ""


def type_word(dtype: torch.dtype) -> str:
    """Return the word for a type, such as float32."""
    return str(dtype).removeprefix("torch.")
