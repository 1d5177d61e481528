# SPDX-License-Identifier: LGPL-2.1-or-later
"""Behler-Parrinello symmetry functions g1 to g5 with the cosine cutoff; definitions in docs/descriptors.md."""

from dataclasses import dataclass
from typing import Any

import torch

from kim_torchml.descriptors.base import Descriptor, Neighbourhoods
from kim_torchml.descriptors.blocks import Block, Pairs, find_pairs, make_blocks
from kim_torchml.descriptors.symmetry_functions_angular import Angular, AngularFunctions
from kim_torchml.descriptors.symmetry_functions_radial import RadialFunctions
from kim_torchml.descriptors.symmetry_functions_shells import Shells, make_shells

# Memory for the tensors of one block. On a CPU smaller blocks cost calls, larger ones miss the caches.
BUDGET = 256 * 2**20  # bytes
BUDGET_PER_THREAD = 32 * 2**20  # bytes


@dataclass(frozen=True)
class SymmetryFunctionParameters:
    """Which symmetry functions.

    Attributes:
        species: Symbols; the index is the species code.
        cutoffs: Of pairs of species, [n_species][n_species], symmetric, Å.
        functions: Family and numbers of each, in the order of the descriptor's columns: ("g1", ()), ("g2", (eta, Rs)),
            ("g3", (kappa,)), ("g4", (zeta, lambda, eta)) or ("g5", (zeta, lambda, eta)), in Å.
    """

    species: tuple[str, ...]
    cutoffs: tuple[tuple[float, ...], ...]
    functions: tuple[tuple[str, tuple[float, ...]], ...]


class SymmetryFunctions(Descriptor):
    """Radial (g1, g2, g3) and angular (g4, g5) symmetry functions, summed over neighbours of all species.

    Source:
        J. Behler, J. Chem. Phys. 134, 074106 (2011).
    """

    def __init__(self, parameters: SymmetryFunctionParameters) -> None:
        """Keep the parameters; tensors are made of them at first use, for each dtype and device."""
        self.species = parameters.species
        self.width = len(parameters.functions)
        self.cutoff = max(max(row) for row in parameters.cutoffs)
        self.parameters = parameters
        self._tables: dict[tuple[torch.dtype, torch.device], _Tables] = {}

    def __call__(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        """Return the functions' values, shape [m, width]; gradients of a gradient (create_graph) take more memory."""
        coordinates = neighbourhoods.coordinates
        key = (coordinates.dtype, coordinates.device)
        if key not in self._tables:
            self._tables[key] = _Tables(self.parameters, *key)
        tables = self._tables[key]
        pairs = find_pairs(neighbourhoods, tables.cutoffs)
        budget = BUDGET
        if coordinates.device.type == "cpu":
            budget = min(BUDGET, BUDGET_PER_THREAD * torch.get_num_threads())
        blocks = make_blocks(pairs.counts, tables.bytes_of_centre, budget)
        work = _Work(tables, neighbourhoods, pairs, blocks)
        values: torch.Tensor = _Values.apply(coordinates, work)  # type: ignore[no-untyped-call]
        return values


class _Tables:
    """The parameters as tensors of one dtype on one device.

    Attributes:
        cutoffs: Of pairs of species, shape [n_species, n_species], Å.
        width: Number of functions.
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
            kinds = [Angular(parameters.functions[i][0], *numbers[i]) for i in angular]
            self._angular = AngularFunctions(kinds, dtype, device)
            place |= {i: self._n_radial + c for i, c in zip(angular, self._angular.columns, strict=True)}
        self._place = torch.tensor([place[i] for i, _ in functions], device=device)

    def bytes_of_centre(self, k: int) -> float:
        """Return about how much memory a centre with k neighbours takes in a block."""
        numbers = 2 * self.width + k * (6 * self._n_radial + 20)
        if self._angular is not None:
            numbers += k * k * 8
            numbers += k * (k - 1) // 2 * (4 * self._angular.n_angles + 3 * self._angular.n_widths + 20)
        return float(numbers * self.cutoffs.element_size())

    def values(self, shells: Shells) -> torch.Tensor:
        """Return the values of a block's centres, shape [c, width]."""
        sums = self._radial.values(shells)
        if self._angular is not None:
            sums = torch.cat([sums, self._angular.values(shells)], dim=1)
        return sums.index_select(1, self._place)

    def gradient(self, shells: Shells, value_gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to a block's vectors, shape [c, k, 3], given that to its values."""
        n_angular = self._angular.n_angles * self._angular.n_widths if self._angular is not None else 0
        by_sum = value_gradients.new_zeros(len(value_gradients), self._n_radial + n_angular)
        by_sum.index_add_(1, self._place, value_gradients)
        gradient = self._radial.gradient(shells, by_sum[:, : self._n_radial])
        if self._angular is not None:
            gradient += self._angular.gradient(shells, by_sum[:, self._n_radial :].contiguous())
        return gradient


@dataclass(frozen=True)
class _Work:
    """One configuration, divided into blocks; coordinates come in separately, to be differentiated by."""

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
        """Return the gradient with respect to the coordinates, shape [n, 3], given that to the values."""
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


class _Values(torch.autograd.Function):
    """Values of all blocks; nothing of them is kept: the gradient computes each block once more."""

    @staticmethod
    def forward(ctx: Any, coordinates: torch.Tensor, work: _Work) -> torch.Tensor:
        ctx.save_for_backward(coordinates)
        ctx.work = work
        return work.values(coordinates.detach())

    @staticmethod
    def backward(ctx: Any, *value_gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (coordinates,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            # The gradient is to be differentiated: let autograd do all of it.
            values = ctx.work.values(coordinates)
            (gradient,) = torch.autograd.grad(values, coordinates, value_gradients[0], create_graph=True)
            return gradient, None
        return ctx.work.gradient(coordinates, value_gradients[0]), None
