# SPDX-License-Identifier: LGPL-2.1-or-later
"""Behler-Parrinello symmetry functions g1 to g5 with the cosine cutoff; definitions in docs/descriptors.md."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch

from kim_torchml.descriptors.base import Descriptor, Neighbourhoods
from kim_torchml.descriptors.centre_blocks import Block, Pairs, find_pairs, make_blocks
from kim_torchml.descriptors.memory_budget import MemoryBudget
from kim_torchml.descriptors.symmetry_functions.angular import AngularFunctions, AngularParameters
from kim_torchml.descriptors.symmetry_functions.radial import RadialFunctions
from kim_torchml.descriptors.symmetry_functions.shells import Shells, make_shells
from kim_torchml.errors import DriverError

BUDGET = MemoryBudget(per_thread=32 * 2**20, on_gpu=256 * 2**20)
# The names of each family's parameters.
NUMBERS: dict[str, tuple[str, ...]] = {
    "g1": (),
    "g2": ("eta", "Rs"),
    "g3": ("kappa",),
    "g4": ("zeta", "lambda", "eta"),
    "g5": ("zeta", "lambda", "eta"),
}
# This is far beyond what is useful: in so sharp a function, the rounding of an angle shows.
LARGEST_ZETA = 10_000.0


@dataclass(frozen=True)
class SymmetryFunctionParameters:
    """Parameters of a set of symmetry functions.

    Attributes:
        species: Element symbols; the index is the species code.
        cutoffs: Cutoffs of pairs of species, [n_species][n_species], symmetric, Å.
        functions: Family and parameters of each function, in the order of the descriptor's columns: ("g1", ()),
            ("g2", (eta, Rs)), ("g3", (kappa,)), ("g4", (zeta, lambda, eta)) or ("g5", (zeta, lambda, eta)), in Å.
    """

    species: tuple[str, ...]
    cutoffs: tuple[tuple[float, ...], ...]
    functions: tuple[tuple[str, tuple[float, ...]], ...]

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            DriverError: If one is out of range, or there are more or fewer than there must be.
        """
        n_species = len(self.species)
        if not self.species or [len(row) for row in self.cutoffs] != [n_species] * n_species:
            found = " + ".join(str(len(row)) for row in self.cutoffs)
            raise DriverError(
                f"the symmetry functions' cutoffs must be {n_species} x {n_species} numbers for {n_species} species, "
                f"of which there must be one at least, got {found or 'none'}; give one for each ordered pair of species"
            )
        if not all(isfinite(cutoff) and cutoff > 0.0 for row in self.cutoffs for cutoff in row):
            raise DriverError(f"the symmetry functions' cutoffs must be positive and finite, got {self.cutoffs}")
        if self.cutoffs != tuple(zip(*self.cutoffs, strict=True)):
            raise DriverError(
                f"the symmetry functions' cutoffs must be symmetric, got {self.cutoffs}; give both orders of a pair of "
                "species one cutoff"
            )
        if not self.functions:
            raise DriverError("there must be at least one symmetry function, got none")
        for number, (family, numbers) in enumerate(self.functions, start=1):
            _check_function(f"symmetry function {number}, {family},", family, numbers)


def _check_function(which: str, family: str, numbers: tuple[float, ...]) -> None:
    if family not in NUMBERS:
        raise DriverError(f"{which} must be one of {', '.join(NUMBERS)}")
    names = NUMBERS[family]
    if len(numbers) != len(names) or not all(map(isfinite, numbers)):
        raise DriverError(f"{which} must have {', '.join(names) or 'no numbers'}, all finite, got {numbers}")
    values = dict(zip(names, numbers, strict=True))
    if values.get("eta", 0.0) < 0.0:
        raise DriverError(
            f"{which} must have an `eta` of zero or more, got {values['eta']:g}: it would grow with the distance"
        )
    if not 0.0 < values.get("zeta", 1.0) <= LARGEST_ZETA:
        raise DriverError(
            f"{which} must have a `zeta` above zero and at most {LARGEST_ZETA:g}, got {values['zeta']:g}; refit the "
            "model with another"
        )


class SymmetryFunctions(Descriptor["_Tables"]):
    """Radial (g1, g2, g3) and angular (g4, g5) symmetry functions, summed over neighbours of all species.

    Source:
        J. Behler, J. Chem. Phys. 134, 074106 (2011).
    """

    def __init__(self, parameters: SymmetryFunctionParameters, *, block_bytes: int | None = None) -> None:
        """Keep the parameters; tensors are made of them at first use, for each dtype and device.

        Args:
            parameters: Parameters of the functions.
            block_bytes: Memory for one block in place of BUDGET, bytes.
        """
        super().__init__(BUDGET, block_bytes)
        self.species = parameters.species
        self.width = len(parameters.functions)
        self.cutoff = max(max(row) for row in parameters.cutoffs)
        self.parameters = parameters

    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the functions' values, shape [m, width]; gradients of a gradient (create_graph) take more memory."""
        coordinates = neighbourhoods.coordinates
        tables = self.tables(coordinates)
        pairs = find_pairs(neighbourhoods, tables.cutoffs)
        budget = self.block_bytes(coordinates.device)
        blocks = make_blocks(pairs.counts, tables.bytes_of_centre, budget)
        configuration = _SymmetryFunctionConfiguration(tables, neighbourhoods, pairs, blocks)
        values: torch.Tensor = _SymmetryFunctionValues.apply(coordinates, configuration)  # type: ignore[no-untyped-call]
        return values

    def make_tables(self, dtype: torch.dtype, device: torch.device) -> "_Tables":
        """Return the parameters as tensors."""
        return _Tables(self.parameters, dtype, device)


class _Tables:
    """The parameters as tensors of one dtype on one device.

    Attributes:
        cutoffs: Cutoffs of pairs of species, shape [n_species, n_species], Å.
        width: Number of functions.
        one_cutoff: Whether all pairs of species have the same cutoff.
    """

    def __init__(self, parameters: SymmetryFunctionParameters, dtype: torch.dtype, device: torch.device) -> None:
        functions = list(enumerate(parameters.functions))
        gaussians = [i for i, (family, _) in functions if family in ("g1", "g2")]
        cosines = [i for i, (family, _) in functions if family == "g3"]
        angular = [i for i, (family, _) in functions if family in ("g4", "g5")]
        numbers = [row for _, row in parameters.functions]
        self.width = len(functions)
        self.cutoffs = torch.tensor(parameters.cutoffs, dtype=dtype, device=device)
        self.one_cutoff = len({cutoff for row in parameters.cutoffs for cutoff in row}) == 1
        # g1 is g2 with eta = 0.
        shapes = [(numbers[i][0], numbers[i][1]) if numbers[i] else (0.0, 0.0) for i in gaussians]
        self._radial = RadialFunctions(shapes, [numbers[i][0] for i in cosines], dtype, device)
        self._n_radial = len(gaussians) + len(cosines)
        self._angular = None
        place = {i: radial for radial, i in enumerate([*gaussians, *cosines])}
        if angular:
            kinds = [AngularParameters(parameters.functions[i][0], *numbers[i]) for i in angular]
            self._angular = AngularFunctions(kinds, dtype, device)
            place |= {i: self._n_radial + c for i, c in zip(angular, self._angular.columns, strict=True)}
        self._place = torch.tensor([place[i] for i, _ in functions], dtype=torch.int64, device=device)
        self._order = self._place.argsort()

    def bytes_of_centre(self, k: int) -> float:
        """Return about how much memory a centre takes in a block where each centre has k neighbours, bytes."""
        numbers = 2 * self.width + k * (6 * self._n_radial + 20)
        if self._angular is not None:
            numbers += k * k * 9 + self._angular.numbers_per_centre
            numbers += k * (k - 1) // 2 * self._angular.numbers_per_triplet
        return float(numbers * self.cutoffs.element_size())

    def values(self, shells: Shells) -> torch.Tensor:
        """Return the values of a block's centres, shape [c, width]."""
        sums = self._radial.values(shells)
        if self._angular is not None:
            sums = torch.cat([sums, self._angular.values(shells)], dim=1)
        return sums.index_select(1, self._place)

    def gradient(self, shells: Shells, value_gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to a block's vectors, shape [c, k, 3], given that of its values."""
        by_sum = value_gradients.index_select(1, self._order)
        gradient = self._radial.gradient(shells, by_sum[:, : self._n_radial])
        if self._angular is not None:
            gradient += self._angular.gradient(shells, by_sum[:, self._n_radial :])
        return gradient


@dataclass(frozen=True)
class _SymmetryFunctionConfiguration:
    """One configuration, divided into blocks; the coordinates are arguments, since they are differentiated by."""

    tables: _Tables
    neighbourhoods: Neighbourhoods
    pairs: Pairs
    blocks: list[Block]

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Return the values, shape [m, width]."""
        values = coordinates.new_zeros(len(self.pairs.counts), self.tables.width)
        for block in self.blocks:
            values.index_copy_(0, block.rows, self.tables.values(self._shells(coordinates, block)))
        return values

    def gradient(self, coordinates: torch.Tensor, value_gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the coordinates, shape [n, 3], given that with respect to the values."""
        gradient = torch.zeros_like(coordinates)
        for block in self.blocks:
            by_value = value_gradients.index_select(0, block.rows)
            by_vector = self.tables.gradient(self._shells(coordinates, block), by_value)
            centres = self.neighbourhoods.centres.index_select(0, block.rows)
            gradient.index_add_(0, self._neighbours(block), by_vector.view(-1, 3))
            gradient.index_add_(0, centres, by_vector.sum(dim=1), alpha=-1)
        return gradient

    def _neighbours(self, block: Block) -> torch.Tensor:
        """Return the particles in a block's shells, shape [c * k]."""
        return self.pairs.neighbours.index_select(0, block.pairs.view(-1))

    def _shells(self, coordinates: torch.Tensor, block: Block) -> Shells:
        neighbours = self._neighbours(block)
        centres = self.pairs.centres.index_select(0, block.pairs.view(-1))
        vectors = coordinates.index_select(0, neighbours) - coordinates.index_select(0, centres)
        vectors = vectors.view(*block.pairs.shape, 3)
        if self.tables.one_cutoff:
            cutoff = self.tables.cutoffs[0, 0]
            return make_shells(vectors, block.present, cutoff, cutoff)
        codes = self.neighbourhoods.species_codes
        neighbour_codes = codes[neighbours].view_as(block.pairs)
        cutoffs = self.tables.cutoffs[codes[centres].view_as(block.pairs), neighbour_codes]
        between = self.tables.cutoffs[neighbour_codes[:, :, None], neighbour_codes[:, None, :]]
        return make_shells(vectors, block.present, cutoffs, between)


class _SymmetryFunctionValues(torch.autograd.Function):
    """The values of symmetry functions as a function of the coordinates.

    The backward pass computes each block again, which saves memory.
    """

    @staticmethod
    def forward(ctx: Any, coordinates: torch.Tensor, configuration: _SymmetryFunctionConfiguration) -> torch.Tensor:
        ctx.save_for_backward(coordinates)
        ctx.configuration = configuration
        return configuration.values(coordinates.detach())

    @staticmethod
    def backward(ctx: Any, *value_gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (coordinates,) = ctx.saved_tensors
        if torch.is_grad_enabled() and ctx.configuration.blocks:
            # The gradient will be differentiated in its turn. Autograd then does all of it, and needs more memory.
            values = ctx.configuration.values(coordinates)
            (gradient,) = torch.autograd.grad(values, coordinates, value_gradients[0], create_graph=True)
            return gradient, None
        return ctx.configuration.gradient(coordinates, value_gradients[0]), None
