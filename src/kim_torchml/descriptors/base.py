# SPDX-License-Identifier: LGPL-2.1-or-later
"""The base of every descriptor, which turns neighbourhoods into one row of numbers for each contributing particle."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from kim_torchml.descriptors.memory_budget import MemoryBudget

Tables = TypeVar("Tables")


@dataclass(frozen=True)
class Neighbourhoods:
    """The surroundings of the particles that a descriptor is asked for.

    Attributes:
        coordinates: Coordinates of all particles, shape [n, 3], Å; the descriptor is differentiable in them.
        species_codes: Species codes of all particles, shape [n], int64; they are indices into the species.
        centres: Particles to describe, shape [m], int64, ascending.
        counts: Number of neighbours of each centre, shape [m], int64.
        neighbours: Neighbours of the centres, one list after the other, shape [sum of counts], int64. Lists may hold
            particles beyond the descriptor's cutoff.
    """

    coordinates: torch.Tensor
    species_codes: torch.Tensor
    centres: torch.Tensor
    counts: torch.Tensor
    neighbours: torch.Tensor


class Descriptor(ABC, Generic[Tables]):
    """A descriptor.

    A new descriptor is a subclass in a folder of its own, and its reader is registered in `descriptors/__init__.py`.
    `Tables` is the type of the tables that it derives from its parameters, once for each dtype and device.

    Attributes:
        species: Element symbols; the index is the species code.
        width: Number of columns, which is the number of values for each particle.
        cutoff: Largest cutoff of any pair of species, Å.
    """

    species: tuple[str, ...]
    width: int
    cutoff: float

    def __init__(self, budget: MemoryBudget, block_bytes: int | None) -> None:
        """Keep the amount of memory to work in.

        Args:
            budget: The descriptor's own budget.
            block_bytes: Memory for one block in place of the budget, bytes.
        """
        self._budget = budget
        self._block_bytes = block_bytes
        self._tables: dict[tuple[torch.dtype, torch.device], Tables] = {}

    def tables(self, coordinates: torch.Tensor) -> Tables:
        """Return the tables in the dtype and on the device of coordinates; they are made at first use."""
        key = coordinates.dtype, coordinates.device
        if key not in self._tables:
            self._tables[key] = self.make_tables(*key)
        return self._tables[key]

    def block_bytes(self, device: torch.device) -> int:
        """Return the memory for one block on a device, bytes."""
        return self._block_bytes or self._budget.on(device)

    @abstractmethod
    def make_tables(self, dtype: torch.dtype, device: torch.device) -> Tables:
        """Return the tables, which are the same for every configuration; called once for each dtype and device."""

    @abstractmethod
    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the descriptor of each centre, shape [m, width], in the dtype and on the device of the coordinates.

        Raises:
            DriverError: If two particles are at the same place.
        """
