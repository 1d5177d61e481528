# SPDX-License-Identifier: LGPL-2.1-or-later
"""The neighbours of one block of centres, and the cutoff function, which all symmetry functions share."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Shells:
    """The neighbours of c centres, padded to k each with neighbours of weight 0.

    Attributes:
        vectors: Vectors from centre to neighbour, shape [c, k, 3], Å.
        present: False for padding, shape [c, k], bool.
        cutoffs: Cutoffs between centre and neighbour, shape [] if all are equal, else [c, k], Å.
        cutoffs_between: Cutoffs between two neighbours of a centre, shape [] if all are equal, else [c, k, k], Å.
        squares: Squared lengths of the vectors, shape [c, k], Å^2.
        distances: Lengths of the vectors, shape [c, k], Å.
        weights: Cutoff function at the distance, 0 for padding, shape [c, k].
    """

    vectors: torch.Tensor
    present: torch.Tensor
    cutoffs: torch.Tensor
    cutoffs_between: torch.Tensor
    squares: torch.Tensor
    distances: torch.Tensor
    weights: torch.Tensor

    @cached_property
    def log_slopes(self) -> torch.Tensor:
        """Derivative of the weights' logarithms by the distances, shape [c, k], 1/Å."""
        return log_slope(self.distances, self.cutoffs)


def make_shells(
    vectors: torch.Tensor, present: torch.Tensor, cutoffs: torch.Tensor, cutoffs_between: torch.Tensor
) -> Shells:
    """Return the shells of neighbours at these vectors from their centres; the attributes of Shells describe them."""
    squares = vectors.square().sum(dim=2)
    distances = squares.sqrt()
    weights = smooth_cutoff(distances, cutoffs) * present
    return Shells(vectors, present, cutoffs, cutoffs_between, squares, distances, weights)


def smooth_cutoff(distances: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
    """Return (cos(pi r / rc) + 1) / 2 for r < rc; computed as a square, it is never negative through rounding."""
    return torch.cos(distances * (math.pi / 2.0 / cutoffs)).square()


def log_slope(distances: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
    """Return d log(fc) / dr of the cutoff function, 1/Å; its product with fc goes to zero at the cutoff."""
    factors = math.pi / 2.0 / cutoffs
    return torch.tan(distances * factors) * (-2.0 * factors)
