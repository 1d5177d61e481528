# SPDX-License-Identifier: LGPL-2.1-or-later
"""The coefficients of the neighbour density of each species, and their gradient with respect to the coordinates."""

from dataclasses import dataclass

import torch

from kim_torchml.descriptors.centre_blocks import Block, Pairs
from kim_torchml.descriptors.soap.basis import Array
from kim_torchml.descriptors.soap.radial import differentiate
from kim_torchml.descriptors.soap.spherical_harmonics import Polynomials, SphericalHarmonics


@dataclass(frozen=True)
class _Places:
    """The neighbours of the c segments of a block, k each, and the functions of their places; p = c k.

    Attributes:
        neighbours: Indices of the particles, shape [p].
        directions: Unit vectors from centre to neighbour, shape [3, p].
        distances: Distances from centre to neighbour, shape [p], Å.
        polynomials: Factors of the spherical harmonics of the directions.
        harmonics: Spherical harmonics of the directions, shape [(l_max + 1)², c, k].
        radial: Radial functions, zero where a segment has fewer neighbours, shape [(l_max + 1) n_max, c, k].
        slopes: Derivatives of `radial` with respect to the distance, in its shape; None where they are not needed.
    """

    neighbours: torch.Tensor
    directions: torch.Tensor
    distances: torch.Tensor
    polynomials: Polynomials
    harmonics: torch.Tensor
    radial: torch.Tensor
    slopes: torch.Tensor | None


def coefficients_of(degree: int, n_max: int) -> slice:
    """Return the places of the n_max x (2 l + 1) coefficients of degree l among all, in the order of degrees."""
    return slice(n_max * degree**2, n_max * (degree + 1) ** 2)


class Density:
    """Coefficients c_nlm = sum_j f_nl(r_j) Y_lm(r_j / |r_j|) of the density.

    The sum is over a segment, which is the neighbours of one species that one centre has. The coefficients of a segment
    are one row, in the order of l, n, m.
    """

    def __init__(self, series: Array, n_max: int, reach: float, dtype: torch.dtype, device: torch.device) -> None:
        """Prepare the tables.

        Args:
            series: Chebyshev coefficients of the radial functions, shape [(l_max + 1) n_max, degree + 1].
            n_max: Number of radial functions for each l.
            reach: End of the range that the series are valid in, Å.
            dtype: Data type of the coordinates.
            device: Device of the coordinates.
        """
        self.n_max = n_max
        self.l_max = len(series) // n_max - 1
        self._reach = reach
        self._harmonics = SphericalHarmonics(self.l_max, dtype, device)
        self._series = torch.tensor(series, dtype=dtype, device=device)
        slopes = torch.tensor(differentiate(series, reach), dtype=dtype, device=device)
        self._series_and_slopes = torch.cat([self._series, slopes])
        self.width = n_max * (self.l_max + 1) ** 2
        # Each pair has Chebyshev polynomials, functions with slopes and their products, harmonics with factors and
        # their gradient, and vectors. Tensors that are joined from parts count twice.
        n_numbers = 2 * self._series.shape[1] + 3 * len(self._series_and_slopes) + 6 * (self.l_max + 1) ** 2 + 20
        self.bytes_per_pair = n_numbers * self._series.element_size()

    def coefficients(self, coordinates: torch.Tensor, pairs: Pairs, block: Block) -> torch.Tensor:
        """Return the coefficients of a block's c segments, shape [c, width].

        Args:
            coordinates: Coordinates of all particles, shape [3, n], Å.
            pairs: Pairs of all segments.
            block: c segments and their pairs.
        """
        places = self._place(coordinates, pairs, block, with_slopes=False)
        factors = (self._factors(places, degree) for degree in range(self.l_max + 1))
        return torch.cat([torch.bmm(radial, harmonics.mT).flatten(1) for radial, harmonics in factors], dim=1)

    def add_gradient(
        self, gradient: torch.Tensor, coordinates: torch.Tensor, pairs: Pairs, block: Block, by_rows: torch.Tensor
    ) -> None:
        """Add a block's part of the gradient with respect to the coordinates.

        Args:
            gradient: Gradient that the part is added to, shape [3, n].
            coordinates: Coordinates of all particles, shape [3, n], Å.
            pairs: Pairs of all segments.
            block: c segments and their pairs.
            by_rows: Gradient with respect to the block's coefficients, shape [c, width].
        """
        places = self._place(coordinates, pairs, block, with_slopes=True)
        assert places.slopes is not None
        by_distance = torch.zeros_like(places.distances)
        by_harmonics = torch.empty_like(places.harmonics)
        slopes = places.slopes.view(-1, self.n_max, *block.pairs.shape)
        for degree in range(self.l_max + 1):
            radial, harmonics = self._factors(places, degree)
            by_coefficients = by_rows[:, coefficients_of(degree, self.n_max)].view(-1, self.n_max, 2 * degree + 1)
            by_radial = torch.bmm(by_coefficients, harmonics)
            by_distance += (by_radial.transpose(0, 1) * slopes[degree]).sum(0).flatten()
            by_harmonics[degree**2 : (degree + 1) ** 2] = torch.bmm(by_coefficients.mT, radial).transpose(0, 1)
        by_direction = self._harmonics.gradient(places.polynomials, by_harmonics.flatten(1))
        # The part of this gradient along the vector is removed: a unit vector can only turn.
        along = (by_direction * places.directions).sum(0)
        by_vector = (by_direction - along * places.directions) / places.distances + by_distance * places.directions
        by_centre = by_vector.view(3, *block.pairs.shape).sum(2)
        centres = pairs.centres.index_select(0, block.pairs[:, 0])
        for axis in range(3):
            gradient[axis].index_add_(0, places.neighbours, by_vector[axis])
            gradient[axis].index_add_(0, centres, by_centre[axis], alpha=-1)

    def _factors(self, places: _Places, degree: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return radial functions, shape [c, n_max, k], and harmonics, shape [c, 2 l + 1, k], of one l."""
        radial = places.radial[degree * self.n_max : (degree + 1) * self.n_max]
        return radial.transpose(0, 1), places.harmonics[degree**2 : (degree + 1) ** 2].transpose(0, 1)

    def _place(self, coordinates: torch.Tensor, pairs: Pairs, block: Block, *, with_slopes: bool) -> _Places:
        """Return the neighbours of a block's segments, with all functions of a single neighbour's place."""
        which, present = block.pairs.flatten(), block.present.flatten()
        neighbours = pairs.neighbours.index_select(0, which)
        centres = pairs.centres.index_select(0, which)
        vectors = coordinates.index_select(1, neighbours) - coordinates.index_select(1, centres)
        distances = vectors.square().sum(0).sqrt()
        directions = vectors / distances
        polynomials = self._harmonics.polynomials(directions)
        series = self._series_and_slopes if with_slopes else self._series
        functions = series @ _chebyshev(distances * (2.0 / self._reach) - 1.0, series.shape[1])
        functions = (functions * present).view(len(series), *block.pairs.shape)
        n_functions = len(self._series)
        return _Places(
            neighbours,
            directions,
            distances,
            polynomials,
            self._harmonics.values(polynomials).view(-1, *block.pairs.shape),
            functions[:n_functions],
            functions[n_functions:] if with_slopes else None,
        )


def _chebyshev(x: torch.Tensor, n_terms: int) -> torch.Tensor:
    """Return the Chebyshev polynomials of the degrees 0 ... n_terms - 1, shape [n_terms, *x.shape]."""
    terms = [torch.ones_like(x), x]
    twice = 2.0 * x
    for _ in range(2, n_terms):
        terms.append(twice * terms[-1] - terms[-2])
    return torch.stack(terms[:n_terms])
