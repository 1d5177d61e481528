# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every engine promises: a program that gives energies and their derivative by the leaf.

Locks, torch's settings during a call, autograd and the wording of a program's own errors stay inside the engine: a
compiled program carries its own backward pass, and what it returns has no autograd graph. An engine knows no kind of
input; what it is told of the inputs is stated here as protocols.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


class CallArgument(Protocol):
    """One tensor that a program is called with."""

    @property
    def name(self) -> str:
        """Name of the argument, for messages."""

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of its entries; None for the program's own floating type."""

    @property
    def sizes(self) -> Sequence[int | str]:
        """Size of each dimension: a number, or a word where it changes from call to call."""

    @property
    def below(self) -> str | None:
        """Word of the size that its entries, which are indices, are below; None for what is no index of rows."""


class CallSignature(Protocol):
    """What a program is called with, and what it is to return."""

    @property
    def arguments(self) -> Sequence[CallArgument]:
        """The arguments, in the order of the program's forward."""

    @property
    def leaf(self) -> str:
        """Name of the tensor that the energy is differentiated by: an argument, or what arguments are made from."""

    @property
    def returns_forces(self) -> bool:
        """Whether the program returns (energy, forces) rather than the energy."""

    @property
    def source(self) -> str:
        """Who says what it is called with, for messages: "graph.param says (number of inputs 6)" or the like."""

    @property
    def returns_stated(self) -> str:
        """Who says what it returns, for messages: "graph.param says (returns forces: true)" or the like."""

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of the floating arguments; None for that of the program's own tensors."""


class ProgramInputs(Protocol):
    """The tensors of one call."""

    @property
    def arguments(self) -> Sequence[torch.Tensor]:
        """The arguments, in the order of the program's forward."""

    @property
    def leaf(self) -> torch.Tensor:
        """The tensor that the energy is differentiated by, of any shape."""

    @property
    def n_rows(self) -> int:
        """Number of rows: nodes as the program sees them."""

    @property
    def contributing_rows(self) -> slice | torch.Tensor:
        """Rows that stand for contributing particles: a slice, or bool of shape [rows] on the program's device."""


@dataclass(frozen=True)
class ProgramResult:
    """What a program gave; the tensors are its caller's, and have no autograd graph.

    Attributes:
        energies: Energies as the program returned them, eV: the total, one per row or one per contributing row.
        gradient: Derivative of the sum of the contributing rows' energies by the leaf, in the leaf's shape; None where
            it was not asked for, where the energy does not depend on the leaf, or where the program returns forces.
        forces: Forces that the program itself returned; None if it returns the energy alone.
    """

    energies: torch.Tensor
    gradient: torch.Tensor | None
    forces: torch.Tensor | None


@dataclass(frozen=True)
class Table:
    """A table that a program looks up by its first argument.

    Attributes:
        name: dotted name of the tensor that holds it, or what else it is, for messages.
        n_rows: number of rows.
    """

    name: str
    n_rows: int


class Program(ABC):
    """A model file that can be called, by several threads at once.

    Attributes:
        file_name: Name of the model file, for messages.
        device: Device of its tensors.
        dtype: Type that its floating inputs must have.
        n_exchanges: How often one call uses the operator `kim_torchml::exchange`.
        takes_own_rows: Whether it uses the operator `kim_torchml::own_rows`.
    """

    file_name: str
    device: torch.device
    dtype: torch.dtype
    n_exchanges: int
    takes_own_rows: bool = False

    @abstractmethod
    def run(self, inputs: ProgramInputs, wants_gradient: bool) -> ProgramResult:
        """Call the program.

        Args:
            inputs: Tensors on the program's device, as the signature says that it was opened with.
            wants_gradient: Whether to differentiate the energy by the leaf.
        Returns:
            Energies and what was asked for.
        Raises:
            DriverError: If the program fails, or returns something else than the signature says.
            RuntimeError, MemoryError: If the device has not enough memory, or is a GPU that has failed;
                `engines.errors` tells such errors.
        """

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by their dotted names, on the program's device."""

    @abstractmethod
    def argument_names(self) -> Sequence[str]:
        """Return the names that the model's author has given to the arguments, in order; none if none is known."""

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """Return the tables that nothing but the first argument is an index of, such as the embedding of species."""

    @abstractmethod
    def attribute(self, name: str) -> Any:
        """Return a value that the author of the model has stored in it under a name; None if there is none."""

    @abstractmethod
    def with_tensors(self, tensors: Mapping[str, torch.Tensor]) -> "Program":
        """Return a copy, shared with nobody, in which some tensors have other values.

        Args:
            tensors: New values by dotted name, in shape and dtype of the old ones.
        """

    @abstractmethod
    def in_double_precision(self) -> "Program":
        """Return a copy, shared with nobody, whose floating tensors and inputs are float64.

        It tells how far a program of a lower type rounds, and cannot be written to a file.
        """

    @abstractmethod
    def file_content(self, original: bytes) -> bytes:
        """Return a model file with the program's tensors as they are now.

        Args:
            original: Content of the file that the program was opened from; other files that its author has put into
                it are kept.
        """
