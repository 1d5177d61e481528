# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bispectrum of the neighbour density: the descriptor of the spectral neighbour analysis potential (SNAP).

Definition, symbols and file format: docs/descriptors_bispectrum.md.
"""

from dataclasses import dataclass
from math import isfinite
from typing import cast

import torch

from kim_torchml.descriptors.base import Descriptor, Neighbourhoods
from kim_torchml.descriptors.bispectrum.plan import Plan, components, make_plan
from kim_torchml.descriptors.bispectrum.points import DistanceMapping
from kim_torchml.descriptors.bispectrum.values_and_gradient import (
    BispectrumConfiguration,
    BispectrumValues,
    bytes_per_centre,
)
from kim_torchml.descriptors.centre_blocks import find_pairs, make_blocks
from kim_torchml.descriptors.memory_budget import MemoryBudget
from kim_torchml.errors import DriverError

BUDGET = MemoryBudget(per_thread=16 * 2**20, on_gpu=512 * 2**20)
# The harmonics on the grid grow with the sixth power of the band limit: 4 MB at 8, 50 MB at 14, 400 MB at 20.
LARGEST_TWOJMAX = 20


@dataclass(frozen=True)
class BispectrumParameters:
    """Parameters of a bispectrum, named as in libdescriptor.

    Attributes:
        twojmax: Twice the band limit jmax.
        rfac0: Fraction of pi that the cutoff is mapped to.
        rmin0: Distance that is mapped to the angle 0, Å.
        diagonalstyle: Choice of components. 0: all with j2 <= j1; 1: j1 = j2; 2: j1 = j2 = j; 3: j2 <= j1 <= j.
        switch_flag: 1 if neighbours fade out towards the cutoff, 0 if they do not.
        bzero_flag: 1 if 2 j is subtracted from each component that is not 0 by definition, 0 if not.
        weights: Weight of a neighbour of each species.
        cutoffs: Cutoff of each pair of species, [centre][neighbour], Å.
    """

    twojmax: int
    rfac0: float
    rmin0: float
    diagonalstyle: int
    switch_flag: int
    bzero_flag: int
    weights: tuple[float, ...]
    cutoffs: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        _check_choice("twojmax", self.twojmax, range(LARGEST_TWOJMAX + 1))
        _check_choice("diagonalstyle", self.diagonalstyle, range(4))
        _check_choice("switch_flag", self.switch_flag, range(2))
        _check_choice("bzero_flag", self.bzero_flag, range(2))
        n_species = len(self.weights)
        if [len(row) for row in self.cutoffs] != [n_species] * n_species:
            found = " + ".join(str(len(row)) for row in self.cutoffs)
            raise DriverError(
                f"the bispectrum's cutoffs must be {n_species} x {n_species} numbers, there being {n_species} weights, "
                f"got {found or 'none'}; give one for each ordered pair of species"
            )
        smallest = min((min(row) for row in self.cutoffs), default=0.0)
        if not (smallest > 0 and all(isfinite(cutoff) for row in self.cutoffs for cutoff in row)):
            raise DriverError(f"the bispectrum's cutoffs must be positive and finite, got {self.cutoffs}")
        if not all(isfinite(weight) for weight in self.weights):
            raise DriverError(f"the bispectrum's weights must be finite, got {self.weights}")
        if not (isfinite(self.rfac0) and self.rfac0 > 0):
            raise DriverError(f"the bispectrum's rfac0 must be positive, got {self.rfac0}; 0.99363 is usual")
        if not (isfinite(self.rmin0) and self.rmin0 < smallest):
            raise DriverError(
                f"the bispectrum's rmin0 must be below the smallest cutoff, {smallest} Å, got {self.rmin0}; 0 is usual"
            )


def _check_choice(name: str, found: int, choices: range) -> None:
    if found not in choices:
        raise DriverError(f"the bispectrum's {name} must be an integer from 0 to {choices[-1]}, got {found}")


class Bispectrum(Descriptor[tuple[Plan, DistanceMapping]]):
    """Bispectrum components of the density of neighbours.

    Source:
        A. P. Thompson, L. P. Swiler, C. R. Trott, S. M. Foiles, G. J. Tucker, J. Comput. Phys. 285 (2015) 316.
    """

    def __init__(
        self, parameters: BispectrumParameters, species: tuple[str, ...], *, block_bytes: int | None = None
    ) -> None:
        """Prepare the descriptor.

        Args:
            parameters: Parameters, with the weights and cutoffs in the order of `species`.
            species: Element symbols; the index is the species code.
            block_bytes: Memory for one block in place of BUDGET, bytes.
        Raises:
            DriverError: If the parameters are for another number of species.
        """
        super().__init__(BUDGET, block_bytes)
        if len(species) != len(parameters.weights):
            raise DriverError(
                f"the bispectrum's parameters are for {len(parameters.weights)} species, got {len(species)}: "
                f"{' '.join(species)}; give one weight for each"
            )
        self.parameters = parameters
        self.species = species
        self.width = len(components(parameters.twojmax, parameters.diagonalstyle))
        self.cutoff = max(max(row) for row in parameters.cutoffs)

    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the bispectrum of each centre, shape [m, width], in the dtype and on the device of the coordinates.

        Raises:
            DriverError: If two particles are at the same place.
        """
        coordinates = neighbourhoods.coordinates
        plan, mapping = self.tables(coordinates)
        pairs = find_pairs(neighbourhoods, mapping.cutoffs)
        budget = self.block_bytes(coordinates.device)
        blocks = make_blocks(pairs.counts, lambda k: bytes_per_centre(plan, k), budget)
        configuration = BispectrumConfiguration(plan, mapping, neighbourhoods.species_codes, pairs, blocks)
        values = cast(torch.Tensor, BispectrumValues.apply(coordinates, configuration))  # type: ignore[no-untyped-call]
        if self.parameters.bzero_flag:
            # LAMMPS subtracts the value of an isolated particle, 2 j + 1. libdescriptor subtracts 2 j, and so must
            # this: models were fitted to its values.
            return values - (plan.scale - 1.0).clamp(min=0.0)
        return values

    def make_tables(self, dtype: torch.dtype, device: torch.device) -> tuple[Plan, DistanceMapping]:
        """Return the tables of the sums, and the parameters of the distances as tensors."""
        parameters = self.parameters
        mapping = DistanceMapping(
            rfac0=parameters.rfac0,
            rmin0=parameters.rmin0,
            switch=parameters.switch_flag == 1,
            cutoffs=torch.tensor(parameters.cutoffs, dtype=dtype, device=device),
            weights=torch.tensor(parameters.weights, dtype=dtype, device=device),
        )
        return make_plan(parameters.twojmax, parameters.diagonalstyle, dtype, device), mapping
