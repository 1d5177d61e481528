# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every descriptor shares: neighbourhoods in, one row of numbers per contributing particle out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Neighbourhoods:
    """The surroundings of the particles that a descriptor is asked for.

    Attributes:
        coordinates: Of all particles, shape [n, 3], Å; the descriptor is differentiable in them.
        species_codes: Of all particles, shape [n], int64: index into the descriptor's species.
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


class Descriptor(ABC):
    """A descriptor. A new one: a subclass in a file of its own; an import and a line in `descriptors/__init__.py`.

    Attributes:
        species: Symbols; the index is the species code.
        width: Numbers per particle.
        cutoff: Largest of its cutoffs, Å.
    """

    species: tuple[str, ...]
    width: int
    cutoff: float

    @abstractmethod
    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the descriptor of each centre, shape [m, width], in the dtype and on the device of the coordinates.

        Raises:
            DriverError: If two particles are at the same place.
        """
