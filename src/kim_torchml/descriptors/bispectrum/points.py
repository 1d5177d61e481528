# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbours as weighted points on the unit sphere in four dimensions."""

from dataclasses import dataclass

import torch

from kim_torchml.descriptors.centre_blocks import Block, Pairs


@dataclass(frozen=True)
class DistanceMapping:
    """The parameters that turn a distance into an angle and a weight.

    Attributes:
        rfac0: Fraction of pi that the cutoff is mapped to.
        rmin0: Distance that is mapped to the angle 0, Å.
        switch: Whether neighbours fade out towards the cutoff.
        cutoffs: Cutoff of each pair of species, centre first, shape [n_species, n_species], Å.
        weights: Weight of a neighbour of each species, shape [n_species].
    """

    rfac0: float
    rmin0: float
    switch: bool
    cutoffs: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Points:
    """The neighbours of the c centres of a block, k each, as points; p = c k.

    A neighbour at `vectors` is the point q = (w, ratio vectors), with |q| = 1.

    Attributes:
        vectors: Vectors from centre to neighbour, shape [3, p], Å.
        w: Cosine of the angle, shape [p].
        ratio: Sine of the angle over the distance, shape [p], 1/Å.
        weight: Weight of the point, shape [p]; 0 where a centre has fewer than k neighbours.
        w_slope: Derivative of w with respect to the distance, over the distance; shape [p], 1/Å².
        ratio_slope: The same derivative of `ratio`, 1/Å³.
        weight_slope: The same derivative of `weight`, 1/Å².
    """

    vectors: torch.Tensor
    w: torch.Tensor
    ratio: torch.Tensor
    weight: torch.Tensor
    w_slope: torch.Tensor
    ratio_slope: torch.Tensor
    weight_slope: torch.Tensor


def place_neighbours(
    coordinates: torch.Tensor, species_codes: torch.Tensor, pairs: Pairs, block: Block, mapping: DistanceMapping
) -> Points:
    """Return the neighbours of a block as points.

    The angle is rfac0 pi (r - rmin0) / (cutoff - rmin0); the weight is the species', times
    (1 + cos(pi (r - rmin0) / (cutoff - rmin0))) / 2 where neighbours fade and r > rmin0.

    Args:
        coordinates: Coordinates of all particles, shape [n, 3], Å.
        species_codes: Species codes of all particles, shape [n], int64.
        pairs: Pairs within the cutoffs.
        block: Centres and their pairs.
        mapping: Parameters that turn a distance into an angle and a weight.
    Source:
        A. P. Thompson et al., J. Comput. Phys. 285 (2015) 316, section 2.
    """
    which = block.pairs.flatten()
    centres, neighbours = pairs.centres.index_select(0, which), pairs.neighbours.index_select(0, which)
    vectors = (coordinates.index_select(0, neighbours) - coordinates.index_select(0, centres)).t().contiguous()
    distance = vectors.square().sum(0).sqrt()
    codes = species_codes.index_select(0, neighbours)
    span = mapping.cutoffs[species_codes.index_select(0, centres), codes] - mapping.rmin0
    phase = (distance - mapping.rmin0) * (torch.pi / span)
    phase_slope = torch.pi / (span * distance)  # divided by the distance, as all slopes here
    sine, cosine = (phase * mapping.rfac0).sin(), (phase * mapping.rfac0).cos()
    # The sine is never negative in libdescriptor. Where the angle is negative, below rmin0, that gives the antipode.
    w, sine = torch.where(sine < 0, -cosine, cosine), sine.abs()
    ratio = sine / distance
    turn = phase_slope * mapping.rfac0
    weight = mapping.weights.index_select(0, codes) * block.present.flatten()
    weight_slope = torch.zeros_like(weight)
    if mapping.switch:
        fades = phase > 0
        weight_slope = weight * torch.where(fades, -0.5 * phase.sin() * phase_slope, 0.0)
        weight = weight * torch.where(fades, 0.5 * phase.cos() + 0.5, 1.0)
    ratio_slope = w * turn / distance - ratio / distance.square()
    return Points(vectors, w, ratio, weight, -sine * turn, ratio_slope, weight_slope)
