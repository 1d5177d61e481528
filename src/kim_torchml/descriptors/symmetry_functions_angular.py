# SPDX-License-Identifier: LGPL-2.1-or-later
"""The angular symmetry functions g4 and g5 of one block of centres, and their gradient.

Both families are sums over triplets of  2 b^zeta exp(-eta S) w  with  b = (1 + lambda cos theta) / 2. The first factor
knows only (lambda, zeta), here called an angle, the others only (family, eta), here called a width. There are few of
each, and one product of matrices over a centre's triplets sums all their combinations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kim_torchml.descriptors.symmetry_functions_shells import Shells, log_slope, smooth_cutoff

# Keeps roots and quotients finite for triplets that are filled in.
_SMALLEST_SQUARE = 1e-30  # Å^2


@dataclass(frozen=True)
class Angular:
    """Parameters of one function: family g4 or g5, zeta, lambda, and eta in 1/Å^2."""

    family: str
    zeta: float
    slope: float
    eta: float


@dataclass(frozen=True)
class _Triplets:
    """A centre i and two of its neighbours, j < k; filled up to t for each centre with triplets of weight 0.

    Attributes:
        places: Where j and k meet in the block's [c, k, k] arrays, flattened, shape [c, t], int64.
        cosines: Of the angle at the centre, shape [c, t].
        inverse_products: 1 / (r_ij r_ik), shape [c, t], 1/Å^2.
        inner: r_ij^2 + r_ik^2, shape [c, t], Å^2.
        outer: r_jk^2, shape [c, t], Å^2.
        cutoffs: For r_jk, shape [] or [c, t], Å.
        weights: 2 fc(r_ij) fc(r_ik), shape [c, t].
    """

    places: torch.Tensor
    cosines: torch.Tensor
    inverse_products: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor
    cutoffs: torch.Tensor
    weights: torch.Tensor


class AngularFunctions:
    """All combinations of the angles and widths that some functions have.

    Attributes:
        n_angles: Number of angles.
        n_widths: Number of widths.
        columns: Combination that each function is.
    """

    def __init__(self, functions: Sequence[Angular], dtype: torch.dtype, device: torch.device) -> None:
        """Sort out angles and widths; tensors have the dtype and the device of the coordinates."""
        angles = sorted({(f.slope, f.zeta) for f in functions})
        widths = sorted({(f.family, f.eta) for f in functions})
        self.n_angles, self.n_widths = len(angles), len(widths)
        self.columns = [
            angles.index((f.slope, f.zeta)) * len(widths) + widths.index((f.family, f.eta)) for f in functions
        ]
        self._zetas = {slope: [zeta for other, zeta in angles if other == slope] for slope, _ in angles}
        self._n_g4 = sum(family == "g4" for family, _ in widths)
        minus_etas = torch.tensor([-eta for _, eta in widths], dtype=dtype, device=device)
        is_g4 = torch.arange(len(widths), device=device) < self._n_g4
        self._etas_g4, self._etas_g5 = minus_etas[: self._n_g4, None], minus_etas[self._n_g4 :, None]
        # What the terms of a triplet add up to: all, those of g4, and their derivatives by S of g4 and of g5.
        ones = torch.ones_like(minus_etas)
        self._sums = torch.stack([ones, ones * is_g4, minus_etas * is_g4, minus_etas * ~is_g4])
        slopes = [slope * zeta / 2.0 for slope, zeta in angles]
        self._slopes = torch.tensor(slopes, dtype=dtype, device=device)[:, None]

    def values(self, shells: Shells) -> torch.Tensor:
        """Return each combination's sum over the triplets, shape [c, n_angles * n_widths]."""
        triplets = self._triplets(shells)
        if not triplets.places.numel():
            return shells.weights.new_zeros(len(shells.weights), self.n_angles * self.n_widths)
        (powers,) = self._powers(triplets.cosines, [0])
        return torch.bmm(powers, self._decays(triplets).transpose(1, 2)).flatten(1)

    def gradient(self, shells: Shells, value_gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the vectors, shape [c, k, 3].

        With a centre's matrix M of value gradients, powers P and decays D, the derivative of sum(M * P D^T) by a
        triplet's cos theta is the sum over angles of (M D) P', that by its S the sum over widths of -eta (M^T P) D.

        Args:
            shells: The neighbours.
            value_gradients: Gradient with respect to the values, shape [c, n_angles * n_widths].
        """
        triplets = self._triplets(shells)
        if not triplets.places.numel():
            return torch.zeros_like(shells.vectors)
        matrices = value_gradients.view(-1, self.n_angles, self.n_widths)
        powers, lower_powers = self._powers(triplets.cosines, [0, 1])
        decays = self._decays(triplets)
        by_cosine = torch.bmm(matrices * self._slopes, decays).mul_(lower_powers).sum(dim=1)
        terms = torch.bmm(matrices.transpose(1, 2), powers).mul_(decays)
        term, term_g4, by_s_g4, by_s_g5 = torch.matmul(self._sums, terms).unbind(dim=1)
        outer_distances = triplets.outer.sqrt()
        by_outer = by_s_g4 + term_g4 * log_slope(outer_distances, triplets.cutoffs) / (2.0 * outer_distances)
        crossed = by_cosine * triplets.inverse_products - 2.0 * by_outer
        own = 2.0 * (by_outer + by_s_g4 + by_s_g5)
        return _by_vectors(shells, triplets.places, crossed, own, by_cosine * triplets.cosines, term)

    def _triplets(self, shells: Shells) -> _Triplets:
        """Return the triplets that matter: for g4 alone, those with r_jk within the cutoff."""
        # Infinitely far for this purpose: no triplet has a neighbour that is filled in.
        squares = shells.squares.masked_fill(~shells.present, torch.inf)
        inner = squares[:, :, None] + squares[:, None, :]
        outer = torch.baddbmm(inner, shells.vectors, shells.vectors.transpose(1, 2), alpha=-2.0)
        farthest = shells.cutoffs_between.square() if self._n_g4 == self.n_widths else torch.inf
        # Written so that a coordinate that is not a number stays, and shows in the result.
        places = _padded((outer >= farthest).logical_not_().triu(1))

        def pick(dense: torch.Tensor) -> torch.Tensor:
            return dense.reshape(-1).index_select(0, places.view(-1)).view_as(places)

        inverses = 1.0 / shells.distances
        inverse_products = pick(inverses[:, :, None] * inverses[:, None, :])
        weights = (2.0 * shells.weights)[:, :, None] * shells.weights[:, None, :]
        # No triplet has this place, on a diagonal: it stands for those filled in.
        weights.view(-1)[0] = 0.0
        inner_squares, outer_squares = pick(inner), pick(outer)
        return _Triplets(
            places,
            (inner_squares - outer_squares) * (0.5 * inverse_products),
            inverse_products,
            inner_squares,
            outer_squares.clamp(min=_SMALLEST_SQUARE),
            pick(shells.cutoffs_between) if shells.cutoffs_between.dim() else shells.cutoffs_between,
            pick(weights),
        )

    def _powers(self, cosines: torch.Tensor, lowered_by: Sequence[int]) -> list[torch.Tensor]:
        """Return b^(zeta - n) of all angles for each n of `lowered_by`, shape [c, n_angles, t]."""
        powers: list[list[torch.Tensor]] = [[] for _ in lowered_by]
        for slope, zetas in self._zetas.items():
            base = (0.5 + (0.5 * slope) * cosines).clamp(min=0.0)
            known = {0: (base > 0.0).to(base.dtype), 1: base}
            for zeta in zetas:
                for n, found in zip(lowered_by, powers, strict=True):
                    found.append(_power(base, zeta - n, known))
        return [torch.stack(found, dim=1) for found in powers]

    def _decays(self, triplets: _Triplets) -> torch.Tensor:
        """Return exp(-eta S) times the cutoff functions for each width, shape [c, n_widths, t]."""
        decays = []
        if self._n_g4:
            between = smooth_cutoff(triplets.outer.sqrt(), triplets.cutoffs)
            if self._n_g4 < self.n_widths:
                between = between.masked_fill(triplets.outer >= triplets.cutoffs.square(), 0.0)
            exponents = self._etas_g4 * (triplets.inner + triplets.outer)[:, None]
            decays.append(torch.exp(exponents) * (triplets.weights * between)[:, None])
        if self._n_g4 < self.n_widths:
            decays.append(torch.exp(self._etas_g5 * triplets.inner[:, None]) * triplets.weights[:, None])
        return torch.cat(decays, dim=1)


def _by_vectors(
    shells: Shells,
    places: torch.Tensor,
    crossed: torch.Tensor,
    own: torch.Tensor,
    cosine: torch.Tensor,
    term: torch.Tensor,
) -> torch.Tensor:
    """Return the gradient with respect to the vectors, shape [c, k, 3].

    The gradient with respect to r_ij gets from each triplet, as that with respect to r_ik does from j and k exchanged:
    crossed r_ik + (own - cosine / r_ij^2 + term d log(fc(r_ij)) / d r_ij / r_ij) r_ij.

    Args:
        shells: The neighbours.
        places: The triplets' places, shape [c, t].
        crossed: Derivative by r_ij . r_ik, shape [c, t].
        own: Twice the derivative by r_ij^2 at a fixed angle and a fixed cutoff function, shape [c, t].
        cosine: cos theta times the derivative by it, shape [c, t].
        term: The triplet's terms, shape [c, t].
    """
    c, k, _ = shells.vectors.shape
    dense = shells.vectors.new_zeros(4, c * k * k)
    for row, values in zip(dense, (crossed, own, cosine, term), strict=True):
        row.index_copy_(0, places.view(-1), values.reshape(-1))
    dense = dense.view(4, c, k, k)
    own_sum, cosine_sum, term_sum = (dense[1:].sum(dim=2) + dense[1:].sum(dim=3)).unbind(0)
    factors = own_sum - cosine_sum / shells.squares + term_sum * shells.log_slopes / shells.distances
    return torch.bmm(dense[0] + dense[0].transpose(1, 2), shells.vectors) + factors[:, :, None] * shells.vectors


def _padded(chosen: torch.Tensor) -> torch.Tensor:
    """Return where an array [c, k, k] is true, flattened, shape [c, t]; 0 beyond a centre's last."""
    c = len(chosen)
    places = chosen.view(-1).nonzero()[:, 0]
    counts = chosen.sum(dim=(1, 2))
    t = int(counts.max())
    gaps = torch.arange(c, device=counts.device) * t - counts.cumsum(0) + counts
    slots = torch.arange(len(places), device=places.device) + gaps.repeat_interleave(counts, output_size=len(places))
    return places.new_zeros(c * t).index_copy_(0, slots, places).view(c, t)


def _power(base: torch.Tensor, exponent: float, known: dict[int, torch.Tensor]) -> torch.Tensor:
    """Return base^exponent, and 0 where the base is 0; a whole power by multiplication of those known."""
    if exponent < 0.0 or exponent != int(exponent):
        return base.masked_fill(base == 0.0, 1.0).pow(exponent) * known[0]
    whole = int(exponent)
    if whole not in known:
        largest = 1 << ((whole - 1).bit_length() - 1)
        known[whole] = _power(base, largest, known) * _power(base, whole - largest, known)
    return known[whole]
