# SPDX-License-Identifier: LGPL-2.1-or-later
"""SOAP power spectrum, as libdescriptor defines it."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch

from kim_torchml.descriptors.base import Descriptor, Neighbourhoods
from kim_torchml.descriptors.centre_blocks import Block, Pairs, find_pairs, make_blocks
from kim_torchml.descriptors.memory_budget import MemoryBudget
from kim_torchml.descriptors.soap.density import Density
from kim_torchml.descriptors.soap.radial import tabulate
from kim_torchml.descriptors.soap.spectrum import PowerSpectrum
from kim_torchml.errors import DriverError

# This is in addition to the result and the coefficients of the density.
BUDGET = MemoryBudget(per_thread=16 * 2**20, on_gpu=512 * 2**20)
# Largest n_max and l_max, far beyond what is useful: with 8 radial functions the overlaps are singular after rounding.
_LARGEST_ORDER = 16
# Smallest and largest cutoff, Å. Beyond them its powers leave the range of floating-point numbers.
_CUTOFFS = (0.01, 1000.0)


@dataclass(frozen=True)
class SoapParameters:
    """Parameters of SOAP.

    Attributes:
        n_max: Number of radial functions.
        l_max: Largest degree of the spherical harmonics.
        cutoff: End of the radial functions' range, Å.
        eta: Exponent of the Gaussians exp(-eta r²) that neighbours are smeared with, 1/Å².
        radial_basis: Kind of radial functions, which must be "polynomial".
        species: Element symbols; the index is the species code.
        neighbour_cutoff: Distance below which neighbours count, Å; None if it is `cutoff`.
    """

    n_max: int
    l_max: int
    cutoff: float
    eta: float
    radial_basis: str
    species: tuple[str, ...]
    neighbour_cutoff: float | None = None

    @property
    def reach(self) -> float:
        """Distance below which neighbours count, Å."""
        return self.cutoff if self.neighbour_cutoff is None else self.neighbour_cutoff

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            DriverError: If one is out of range.
        """
        for name, found, least in (("n_max", self.n_max, 1), ("l_max", self.l_max, 0)):
            if found not in range(least, _LARGEST_ORDER + 1):
                raise DriverError(f"SOAP's `{name}` must be an integer from {least} to {_LARGEST_ORDER}, got {found}")
        least_cutoff, largest_cutoff = _CUTOFFS
        for name, number in (("cutoff", self.cutoff), ("neighbour_cutoff", self.reach)):
            if not least_cutoff <= number <= largest_cutoff:
                raise DriverError(
                    f"SOAP's `{name}` must be from {least_cutoff:g} to {largest_cutoff:g} Å, got {number:g}"
                )
        if not (isfinite(self.eta) and self.eta > 0):
            raise DriverError(f"SOAP's `eta` must be positive and finite, got {self.eta}")
        if self.radial_basis != "polynomial":
            raise DriverError(
                f"SOAP's `radial_basis` must be 'polynomial', got '{self.radial_basis}'; refit the model with it: "
                "there is no other"
            )
        if not self.species or len(set(self.species)) < len(self.species):
            found_species = " ".join(self.species) or "none"
            raise DriverError(f"SOAP's `species` must be at least one, each named once, got {found_species}")


@dataclass(frozen=True)
class _SoapConfiguration:
    """One configuration, divided into blocks, and the tables that its power spectrum is computed with.

    Attributes:
        density: Tables of the first step, from coordinates to coefficients.
        spectrum: Tables of the second step, from coefficients to the power spectrum.
        pairs: Pairs within the cutoff, in segments; a segment is the neighbours of one species that one centre has.
        blocks: Blocks of segments with their pairs, for the first step.
        n_centres: Number of centres.
        stride: Number of centres that the second step takes at a time.
    """

    density: Density
    spectrum: PowerSpectrum
    pairs: Pairs
    blocks: list[Block]
    n_centres: int
    stride: int

    def coefficients(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Return the coefficients of the densities, shape [m, n_species, n_max (l_max + 1)²]."""
        points = coordinates.t().contiguous()
        n_species = self.spectrum.n_species
        rows = coordinates.new_zeros(self.n_centres * n_species, self.density.width)
        for block in self.blocks:
            rows.index_copy_(0, block.rows, self.density.coefficients(points, self.pairs, block))
        return rows.view(self.n_centres, n_species, self.density.width)

    def values(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the power spectrum, shape [m, width]."""
        return torch.cat([self.spectrum.values(some) for some in torch.split(coefficients, self.stride)])

    def gradient(self, coordinates: torch.Tensor, coefficients: torch.Tensor, by_values: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the coordinates, shape [n, 3].

        Args:
            coordinates: Coordinates of all particles, shape [n, 3], Å.
            coefficients: Coefficients of the densities, shape [m, n_species, n_max (l_max + 1)²].
            by_values: Gradient with respect to the power spectrum, shape [m, width].
        """
        parts = zip(*(torch.split(x, self.stride) for x in (coefficients, by_values)), strict=True)
        by_rows = torch.cat([self.spectrum.gradient(*part) for part in parts]).flatten(0, 1)
        points = coordinates.t().contiguous()
        gradient = torch.zeros_like(points)
        for block in self.blocks:
            by_block = by_rows.index_select(0, block.rows)
            self.density.add_gradient(gradient, points, self.pairs, block, by_block)
        return gradient.t().contiguous()


class Soap(Descriptor[tuple[Density, PowerSpectrum]]):
    """SOAP power spectrum of the densities of neighbours, by species.

    No function fades neighbours out towards the cutoff. When a neighbour crosses it, the values jump, typically by a
    few percent of the largest value, as they do in libdescriptor.

    Source:
        A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87 (2013) 184115; L. Himanen et al., Comput. Phys. Commun.
        247 (2020) 106949; libdescriptor, SOAP.
    """

    def __init__(self, parameters: SoapParameters, *, block_bytes: int | None = None) -> None:
        """Tabulate the radial functions.

        Args:
            parameters: Parameters of the descriptor.
            block_bytes: Memory for one block in place of BUDGET, bytes.
        Raises:
            DriverError: If the Gaussians are too narrow for the quadrature, or the radial functions too many.
        """
        super().__init__(BUDGET, block_bytes)
        self.parameters = parameters
        self.species = parameters.species
        self.cutoff = parameters.reach
        n_pairs = len(self.species) * (len(self.species) + 1) // 2
        self.width = n_pairs * parameters.n_max * (parameters.n_max + 1) // 2 * (parameters.l_max + 1)
        self._series = tabulate(parameters.n_max, parameters.l_max, parameters.cutoff, parameters.eta, parameters.reach)

    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the power spectrum of each centre, shape [m, width], in dtype and on device of the coordinates.

        Raises:
            DriverError: If two particles are at the same place.
        """
        coordinates = neighbourhoods.coordinates
        density, spectrum = self.tables(coordinates)
        budget = self.block_bytes(coordinates.device)
        pairs = find_pairs(neighbourhoods, coordinates.new_full((1, 1), self.cutoff))
        pairs = _by_species(pairs, neighbourhoods.species_codes, len(self.species))
        configuration = _SoapConfiguration(
            density,
            spectrum,
            pairs,
            make_blocks(pairs.counts, lambda k: k * density.bytes_per_pair, budget),
            len(neighbourhoods.centres),
            max(1, budget // (spectrum.numbers_per_centre * coordinates.element_size())),
        )
        values: torch.Tensor = _SoapValues.apply(coordinates, configuration)  # type: ignore[no-untyped-call]
        return values

    def make_tables(self, dtype: torch.dtype, device: torch.device) -> tuple[Density, PowerSpectrum]:
        """Return the tables of the two steps."""
        parameters = self.parameters
        density = Density(self._series, parameters.n_max, parameters.reach, dtype, device)
        return density, PowerSpectrum(parameters.n_max, parameters.l_max, len(self.species), device)


def _by_species(pairs: Pairs, species_codes: torch.Tensor, n_species: int) -> Pairs:
    """Divide each centre's pairs by the neighbours' species.

    Returns:
        The pairs in the order of centre and species, with counts of shape [m * n_species].
    """
    if n_species == 1:
        return pairs
    row = torch.arange(len(pairs.counts), dtype=torch.int64, device=pairs.counts.device)
    row_of_pair = row.repeat_interleave(pairs.counts, output_size=len(pairs.neighbours))
    segment = row_of_pair * n_species + species_codes.index_select(0, pairs.neighbours)
    order = segment.argsort(stable=True)
    counts = pairs.counts.new_zeros(len(row) * n_species).index_add_(0, segment, torch.ones_like(segment))
    return Pairs(pairs.centres[order], pairs.neighbours[order], counts)


class _SoapValues(torch.autograd.Function):
    """The power spectrum as a function of the coordinates.

    The backward pass gets only the coefficients of the density from the forward pass, which saves memory.
    """

    @staticmethod
    def forward(ctx: Any, coordinates: torch.Tensor, configuration: _SoapConfiguration) -> torch.Tensor:
        coefficients = configuration.coefficients(coordinates)
        ctx.save_for_backward(coordinates, coefficients if ctx.needs_input_grad[0] else None)
        ctx.configuration = configuration
        return configuration.values(coefficients)

    @staticmethod
    def backward(ctx: Any, *by_values: torch.Tensor) -> tuple[torch.Tensor, None]:
        coordinates, coefficients = ctx.saved_tensors
        if torch.is_grad_enabled() and ctx.configuration.blocks:
            # The gradient will be differentiated in its turn. Autograd then does all of it, and needs more memory.
            values = ctx.configuration.values(ctx.configuration.coefficients(coordinates))
            return torch.autograd.grad(values, coordinates, by_values[0], create_graph=True)[0], None
        return ctx.configuration.gradient(coordinates, coefficients, by_values[0]), None
