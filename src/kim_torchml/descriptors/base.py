# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every descriptor shares: neighbourhoods in, one row of numbers per contributing particle out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from kim_torchml.descriptors.memory_budget import Budget

Tables = TypeVar("Tables")


@dataclass(frozen=True)
class Neighbourhoods:
    """The surroundings of the particles that a descriptor is asked for.

    Attributes:
        coordinates: Coordinates of all particles, shape [n, 3], Å; the descriptor is differentiable in them.
        species_codes: Species codes of all particles, shape [n], int64: index into the descriptor's species.
        centres: Particles to describe, shape [m], int64, ascending.
        counts: Number of neighbours of each centre, shape [m], int64.
        neighbours: Their neighbours, one list after the other, shape [sum of counts], int64. Lists may hold
            particles beyond the descriptor's cutoff.
    """

    coordinates: torch.Tensor
    species_codes: torch.Tensor
    centres: torch.Tensor
    counts: torch.Tensor
    neighbours: torch.Tensor


class Descriptor(ABC, Generic[Tables]):
    """A descriptor. A new one is a subclass in a file of its own, and a line in `descriptors/__init__.py`.

    `Tables` is the type of the tensors that it makes from its parameters, once for each dtype and device.

    Attributes:
        species: Element symbols; the index is the species code.
        width: Number of columns: numbers for each particle.
        cutoff: Largest of its cutoffs, Å.
    """

    species: tuple[str, ...]
    width: int
    cutoff: float

    def __init__(self, budget: Budget, block_bytes: int | None) -> None:
        """Keep the memory budget.

        Args:
            budget: The memory that this descriptor works best in.
            block_bytes: Memory for one block, bytes, in place of that budget.
        """
        self._budget = budget
        self._block_bytes = block_bytes
        self._tables: dict[tuple[torch.dtype, torch.device], Tables] = {}

    def tables(self, coordinates: torch.Tensor) -> Tables:
        """Return what does not depend on the configuration, in the dtype and on the device of coordinates."""
        key = coordinates.dtype, coordinates.device
        if key not in self._tables:
            self._tables[key] = self.make_tables(*key)
        return self._tables[key]

    def block_bytes(self, device: torch.device) -> int:
        """Return the memory for one block on a device, bytes."""
        return self._block_bytes or self._budget.on(device)

    @abstractmethod
    def make_tables(self, dtype: torch.dtype, device: torch.device) -> Tables:
        """Return what does not depend on the configuration: called once for each dtype and device."""

    @abstractmethod
    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the descriptor of each centre, shape [m, width], in the dtype and on the device of the coordinates.

        Raises:
            DriverError: If two particles are at the same place.
        """
