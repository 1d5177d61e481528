# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bispectrum of blocks of centres, and its gradient with respect to the coordinates.

The weighted neighbours of a centre, and the centre itself, make a density on the unit sphere in four dimensions. Its
part of degree n is f_n(q) = sum over points of weight U_n(q_point . q); the component of j1, j2 and j is the mean of
f_2j1 f_2j2 f_2j over the sphere, times 2 j + 1. docs/descriptors_bispectrum.md shows that this is the sum over
Clebsch-Gordan coefficients by which it is usually defined.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kim_torchml.descriptors.bispectrum.harmonics import gegenbauer, solid_harmonics
from kim_torchml.descriptors.bispectrum.plan import Plan, first_harmonic, pair_row
from kim_torchml.descriptors.bispectrum.points import DistanceMapping, Points, place_neighbours
from kim_torchml.descriptors.centre_blocks import Block, Pairs


@dataclass(frozen=True)
class BispectrumConfiguration:
    """One configuration, divided into blocks, and the tables that its bispectrum is computed with.

    Attributes:
        plan: Tables that are the same for every configuration.
        mapping: Parameters that turn a distance into an angle and a weight.
        species_codes: Species codes of all particles, shape [n], int64.
        pairs: Pairs within the cutoffs.
        blocks: Blocks of the centres that have neighbours.
    """

    plan: Plan
    mapping: DistanceMapping
    species_codes: torch.Tensor
    pairs: Pairs
    blocks: list[Block]

    def points(self, coordinates: torch.Tensor, block: Block) -> Points:
        """Return the neighbours of a block as points."""
        return place_neighbours(coordinates, self.species_codes, self.pairs, block, self.mapping)


def bytes_per_centre(plan: Plan, n_neighbours: int) -> int:
    """Return about how much memory one centre of a block takes in the backward pass, where it takes most."""
    degrees = plan.twojmax + 1
    polynomials = degrees * (degrees + 1) // 2
    on_grid = (polynomials + 2 * degrees) * plan.harmonics[0].shape[1]
    outer = 2 * polynomials * degrees**2
    per_neighbour = 4 * polynomials + 2 * degrees**2 + 3 * plan.twojmax**2 + 30
    return plan.own.element_size() * (on_grid + outer + per_neighbour * n_neighbours)


class BispectrumValues(torch.autograd.Function):
    """The bispectrum components as a function of the coordinates.

    The backward pass gets one expansion for each centre from the forward pass and computes all else again, which saves
    memory.
    """

    @staticmethod
    def forward(ctx: Any, coordinates: torch.Tensor, configuration: BispectrumConfiguration) -> torch.Tensor:
        """Return the components of all centres, shape [m, width].

        Args:
            ctx: Object of torch that keeps what `backward` needs.
            coordinates: Coordinates of all particles, shape [n, 3], Å.
            configuration: Pairs and blocks of the particles.
        """
        n_centres = len(configuration.pairs.counts)
        expansions = configuration.plan.own.repeat(n_centres, 1) if ctx.needs_input_grad[0] else None
        components = _evaluate(coordinates, configuration, expansions)
        ctx.configuration = configuration
        ctx.save_for_backward(coordinates, expansions)
        return components

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return d(sum of components x gradients[0]) / d(coordinates), shape [n, 3]."""
        coordinates, expansions = ctx.saved_tensors
        configuration: BispectrumConfiguration = ctx.configuration
        if torch.is_grad_enabled() and configuration.blocks:
            # The gradient will be differentiated in its turn. Autograd then does all of it, and needs more memory.
            components = _evaluate(coordinates, configuration)
            return torch.autograd.grad(components, coordinates, gradients[0], create_graph=True)[0], None
        plan, pairs = configuration.plan, configuration.pairs
        result = torch.zeros_like(coordinates)
        for block in configuration.blocks:
            expansion = expansions.index_select(0, block.rows)
            of_expansion = _components_adjoint(gradients[0].index_select(0, block.rows), expansion, plan)
            of_vectors = _expand_adjoint(of_expansion, configuration.points(coordinates, block), block, plan)
            neighbours = pairs.neighbours.index_select(0, block.pairs.flatten())
            centres = pairs.centres.index_select(0, block.pairs[:, 0])
            result.index_add_(0, neighbours, of_vectors.flatten(1).t())
            result.index_add_(0, centres, of_vectors.sum(2).t(), alpha=-1.0)
        return result, None


def _evaluate(
    coordinates: torch.Tensor, configuration: BispectrumConfiguration, expansions: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the components of all centres, shape [m, width].

    Args:
        coordinates: Coordinates of all particles, shape [n, 3], Å.
        configuration: Pairs and blocks of the particles.
        expansions: Tensor that the expansions of centres with neighbours are written to, shape [m, h]; None for none.
    """
    plan = configuration.plan
    components = _components(plan.own.unsqueeze(0), plan).repeat(len(configuration.pairs.counts), 1)
    for block in configuration.blocks:
        expansion = _expand(configuration.points(coordinates, block), block, plan)
        components.index_copy_(0, block.rows, _components(expansion, plan))
        if expansions is not None:
            expansions.index_copy_(0, block.rows, expansion)
    return components


def _expand(points: Points, block: Block, plan: Plan) -> torch.Tensor:
    """Return the expansion of the density of a block's centres in harmonics, shape [c, h]."""
    shape = block.present.shape
    polynomials = gegenbauer(points.w, plan.recurrences) * points.weight
    solid = solid_harmonics(points.ratio * points.vectors, plan.recurrences)
    outer = torch.bmm(polynomials.view(-1, *shape).transpose(0, 1), solid.view(-1, *shape).permute(1, 2, 0))
    return outer.flatten(1).index_select(1, plan.expansion).add_(plan.own)


def _expand_adjoint(gradient: torch.Tensor, points: Points, block: Block, plan: Plan) -> torch.Tensor:
    """Return d(sum of expansion x gradient) / d(vectors), shape [3, c, k].

    Args:
        gradient: Gradient with respect to the expansion, shape [c, h].
        points: The neighbours.
        block: Block of c centres with k neighbours.
        plan: Tables of the harmonics.
    """
    c, k = block.present.shape
    degree, coefficients = plan.twojmax, plan.recurrences
    polynomials = gegenbauer(points.w, coefficients)
    solid = solid_harmonics(points.ratio * points.vectors, coefficients)
    outer = gradient.new_zeros((c, len(polynomials) * len(solid))).index_copy_(1, plan.expansion, gradient)
    outer = outer.view(c, len(polynomials), len(solid))
    of_weighted, of_solid = torch.empty_like(polynomials), torch.empty_like(solid)
    torch.bmm(outer, _by_centre(solid, c), out=_by_centre(of_weighted, c))
    torch.bmm(outer.transpose(1, 2), _by_centre(polynomials * points.weight, c), out=_by_centre(of_solid, c))
    of_weight = (of_weighted * polynomials).sum(0)
    raised = polynomials.index_select(0, coefficients.gegenbauer_raised).mul_(coefficients.gegenbauer_derivative)
    of_w = raised.mul_(of_weighted[degree + 1 :]).sum(0).mul_(points.weight)
    lowered = (coefficients.solid_gradient @ of_solid).view(3, degree**2, c * k)
    of_xyz = lowered.mul_(solid[: degree**2]).sum(1)
    along = (of_xyz * points.vectors).sum(0) * points.ratio_slope
    along += of_w * points.w_slope + of_weight * points.weight_slope
    return (of_xyz * points.ratio + along * points.vectors).view(3, c, k)


def _by_centre(values: torch.Tensor, c: int) -> torch.Tensor:
    """Return values of shape [rows, c k] as a view of shape [c, rows, k]."""
    return values.view(len(values), c, values.shape[1] // c).transpose(0, 1)


def _components(expansion: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Return the components of expansions, shape [c, width]."""
    functions = _functions(expansion, plan)
    integrals = torch.bmm(_products(functions), functions.transpose(1, 2))
    return integrals.flatten(1).index_select(1, plan.picks).mul_(plan.scale)


def _components_adjoint(gradient: torch.Tensor, expansion: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Return d(sum of components x gradient) / d(expansion), shape [c, h].

    Args:
        gradient: Gradient with respect to the components, shape [c, width].
        expansion: Expansion of the density, shape [c, h].
        plan: Tables of the harmonics and components.
    """
    factors = (gradient @ plan.products).view(len(gradient), plan.twojmax + 1, -1)
    of_functions = torch.bmm(factors, _products(_functions(expansion, plan)))
    result = torch.empty_like(expansion)
    for n, harmonics, part in _degrees(result, plan):
        torch.mm(of_functions[:, n], harmonics.t(), out=part)
    return result


def _functions(expansion: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Return the functions f_n on the grid, shape [c, twojmax + 1, g]."""
    if torch.is_grad_enabled():
        return torch.stack([part @ harmonics for _, harmonics, part in _degrees(expansion, plan)], dim=1)
    values = expansion.new_empty((len(expansion), plan.twojmax + 1, plan.harmonics[0].shape[1]))
    for n, harmonics, part in _degrees(expansion, plan):
        torch.mm(part, harmonics, out=values[:, n])
    return values


def _degrees(expansion: torch.Tensor, plan: Plan) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Yield each degree with its harmonics on the grid and its part of an expansion, shape [c, (n + 1)²]."""
    for n, harmonics in enumerate(plan.harmonics):
        yield n, harmonics, expansion[:, first_harmonic(n) : first_harmonic(n + 1)]


def _products(functions: torch.Tensor) -> torch.Tensor:
    """Return the products f_a f_b, a >= b, on the grid, shape [c, n_pairs, g]."""
    c, n, g = functions.shape
    if torch.is_grad_enabled():
        return torch.cat([functions[:, a : a + 1] * functions[:, : a + 1] for a in range(n)], dim=1)
    products = functions.new_empty((c, pair_row(n, 0), g))
    for a in range(n):
        rows = slice(pair_row(a, 0), pair_row(a, a) + 1)
        torch.mul(functions[:, a : a + 1], functions[:, : a + 1], out=products[:, rows])
    return products
