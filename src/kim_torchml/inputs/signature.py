# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the models of a kind of input are called with."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Argument:
    """One tensor that a model is called with.

    Attributes:
        name: its name.
        sizes: size of each dimension: a number, or a word where it changes from call to call.
        dtype: type of its entries; None for the model's floating type.
        below: word of the size that its entries, which are indices, are below; None for what is no index of rows.
    """

    name: str
    sizes: tuple[int | str, ...]
    dtype: torch.dtype | None = torch.int64
    below: str | None = None


@dataclass(frozen=True)
class Signature:
    """What a model is called with, and what it is to return.

    Attributes:
        arguments: arguments of the model's forward, in order.
        leaf: name of the tensor that the energy is differentiated by: an argument, or what arguments are made from.
        returns_forces: whether the model returns (energy, forces) rather than the energy.
        source: who says what it is called with, for messages.
        returns_stated: who says what it returns, for messages.
        dtype: the model's floating type; None for that of its parameters.
    """

    arguments: tuple[Argument, ...]
    leaf: str
    returns_forces: bool
    source: str
    returns_stated: str
    dtype: torch.dtype | None = None
