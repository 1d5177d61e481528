# SPDX-License-Identifier: LGPL-2.1-or-later
"""The angular symmetry functions g4 and g5 of one block of centres, and their gradient.

Both families are sums over triplets of  2 b^zeta exp(-eta S) w  with  b = (1 + lambda cos theta) / 2. The first factor
knows only (lambda, zeta), here called an angle, the others only (family, eta), here called a width. There are few of
each in usual sets, and one product of matrices over a centre's triplets sums all their combinations. In a set where
most combinations are no function, groups of a few angles each keep the combinations in proportion to the functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from kim_torchml.descriptors.symmetry_functions.shells import Shells, log_slope, smooth_cutoff

# Keeps roots and quotients finite for triplets that are filled in.
_SMALLEST_SQUARE = 1e-30  # Å^2
# At most so many combinations of an angle and a width are computed for each function.
_MOST_COMBINATIONS = 8
# Larger whole powers are computed as those that are not whole.
_LARGEST_PRODUCT = 64


@dataclass(frozen=True)
class Angular:
    """Parameters of one function: family g4 or g5, zeta, lambda, and eta in 1/Å^2."""

    family: str
    zeta: float
    slope: float
    eta: float

    @property
    def angle(self) -> tuple[float, float]:
        """What its dependence on the angle is."""
        return self.slope, self.zeta

    @property
    def width(self) -> tuple[str, float]:
        """What its dependence on the distances is."""
        return self.family, self.eta


@dataclass(frozen=True)
class _Triplets:
    """A centre i and two of its neighbours, j < k; filled up to t for each centre with triplets of weight 0.

    Attributes:
        places: Where j and k meet in the block's [c, k, k] arrays, flattened, shape [c, t], int64.
        cosines: Cosine of the angle at the centre, shape [c, t].
        inverse_products: 1 / (r_ij r_ik), shape [c, t], 1/Å^2.
        inner: r_ij^2 + r_ik^2, shape [c, t], Å^2.
        outer: r_jk^2, shape [c, t], Å^2.
        cutoffs: Cutoff of r_jk, shape [] or [c, t], Å.
        weights: 2 fc(r_ij) fc(r_ik), shape [c, t].
        all_near: Whether only those with r_jk within the cutoff are there.
    """

    places: torch.Tensor
    cosines: torch.Tensor
    inverse_products: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor
    cutoffs: torch.Tensor
    weights: torch.Tensor
    all_near: bool

    @cached_property
    def outer_distances(self) -> torch.Tensor:
        """r_jk, shape [c, t], Å."""
        return self.outer.sqrt()

    @cached_property
    def weights_g4(self) -> torch.Tensor:
        """2 fc(r_ij) fc(r_ik) fc(r_jk), shape [c, t]."""
        between = smooth_cutoff(self.outer_distances, self.cutoffs)
        if not self.all_near:
            between = between.masked_fill(self.outer >= self.cutoffs.square(), 0.0)
        return self.weights * between


class _Group:
    """All combinations of the angles and widths that some functions have.

    Attributes:
        n_angles: Number of angles.
        n_widths: Number of widths.
    """

    def __init__(self, functions: Sequence[Angular], dtype: torch.dtype, device: torch.device) -> None:
        # In each slope whole zetas come first: `_powers` computes them in this order.
        angles = sorted({function.angle for function in functions}, key=lambda a: (a[0], not _is_product(a[1]), a[1]))
        widths = sorted({function.width for function in functions})
        self.n_angles, self.n_widths = len(angles), len(widths)
        columns = [angles.index(f.angle) * len(widths) + widths.index(f.width) for f in functions]
        self._columns = torch.tensor(columns, device=device)
        self._whole: dict[float, list[int]] = {slope: [] for slope, _ in angles}
        self._others: dict[float, torch.Tensor] = {}
        for slope in self._whole:
            zetas = [zeta for other, zeta in angles if other == slope]
            self._whole[slope] = [int(zeta) for zeta in zetas if _is_product(zeta)]
            others = [zeta - 1.0 for zeta in zetas if not _is_product(zeta)]
            self._others[slope] = torch.tensor(others, dtype=dtype, device=device)[:, None]
        self._n_g4 = sum(family == "g4" for family, _ in widths)
        minus_etas = torch.tensor([-eta for _, eta in widths], dtype=dtype, device=device)
        is_g4 = torch.arange(len(widths), device=device) < self._n_g4
        self._etas_g4, self._etas_g5 = minus_etas[: self._n_g4, None], minus_etas[self._n_g4 :, None]
        # What the terms of a triplet add up to: all, those of g4, and their derivatives by S of g4 and of g5.
        ones = torch.ones_like(minus_etas)
        self._sums = torch.stack([ones, ones * is_g4, minus_etas * is_g4, minus_etas * ~is_g4])
        slopes = [slope * zeta / 2.0 for slope, zeta in angles]
        self._slopes = torch.tensor(slopes, dtype=dtype, device=device)[:, None]

    def values(self, triplets: _Triplets) -> torch.Tensor:
        """Return each function's sum over the triplets, shape [c, n_functions]."""
        (powers,) = self._powers(triplets.cosines, lowered=False)
        sums = torch.bmm(powers, self._decays(triplets).transpose(1, 2)).flatten(1)
        return sums.index_select(1, self._columns)

    def gradient(self, triplets: _Triplets, value_gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return derivatives of each triplet's terms.

        With a centre's matrix M of value gradients, powers P and decays D, the derivative of sum(M * P D^T) by a
        triplet's cos theta is the sum over angles of (M D) P', that by its S the sum over widths of -eta (M^T P) D.

        Args:
            triplets: The triplets.
            value_gradients: Gradient with respect to the values, shape [c, n_functions].
        Returns:
            Derivative by cos theta, shape [c, t]; the terms, those of g4, and their derivatives by S of g4 and of g5,
            shape [c, 4, t].
        """
        matrices = value_gradients.new_zeros(len(value_gradients), self.n_angles * self.n_widths)
        matrices = matrices.index_add_(1, self._columns, value_gradients).view(-1, self.n_angles, self.n_widths)
        powers, lower_powers = self._powers(triplets.cosines, lowered=True)
        decays = self._decays(triplets)
        by_cosine = torch.bmm(matrices * self._slopes, decays).mul_(lower_powers).sum(dim=1)
        terms = torch.bmm(matrices.transpose(1, 2), powers).mul_(decays)
        return by_cosine, torch.matmul(self._sums, terms)

    def _powers(self, cosines: torch.Tensor, *, lowered: bool) -> list[torch.Tensor]:
        """Return b^zeta and, if asked for, b^(zeta - 1) of all angles, 0 where b is 0, shape [c, n_angles, t]."""
        powers: list[torch.Tensor] = []
        lower_powers: list[torch.Tensor] = []
        for slope, whole in self._whole.items():
            base = (0.5 + (0.5 * slope) * cosines).clamp(min=0.0)
            is_positive = (base > 0.0).to(base.dtype)
            known = {0: is_positive, 1: base}
            powers += [_product(zeta, known) for zeta in whole]
            if lowered:
                lower_powers += [_product(zeta - 1, known) for zeta in whole]
            if len(exponents := self._others[slope]):
                # Much faster than pow(), and as exact where it matters: the error grows as the power vanishes.
                logarithms = base.masked_fill(base == 0.0, 1.0).log()
                lower = torch.exp(exponents * logarithms[:, None]) * is_positive[:, None]
                powers += (lower * base[:, None]).unbind(dim=1)
                lower_powers += lower.unbind(dim=1)
        return [torch.stack(found, dim=1) for found in ((powers, lower_powers) if lowered else (powers,))]

    def _decays(self, triplets: _Triplets) -> torch.Tensor:
        """Return exp(-eta S) times the cutoff functions for each width, shape [c, n_widths, t]."""
        decays = []
        if self._n_g4:
            exponents = self._etas_g4 * (triplets.inner + triplets.outer)[:, None]
            decays.append(torch.exp(exponents) * triplets.weights_g4[:, None])
        if self._n_g4 < self.n_widths:
            decays.append(torch.exp(self._etas_g5 * triplets.inner[:, None]) * triplets.weights[:, None])
        return torch.cat(decays, dim=1)


class AngularFunctions:
    """Functions g4 and g5.

    Attributes:
        columns: Where each function is among the values.
        numbers_per_triplet: How many numbers the work on a triplet takes at once, about.
        numbers_per_centre: Likewise, the work on a centre besides that on its triplets.
    """

    def __init__(self, functions: Sequence[Angular], dtype: torch.dtype, device: torch.device) -> None:
        """Sort functions into groups; tensors have the dtype and the device of the coordinates."""
        members = _divide(functions)
        self._groups = [_Group([functions[i] for i in some], dtype, device) for some in members]
        self._sizes = [len(some) for some in members]
        column = {i: c for c, i in enumerate(i for some in members for i in some)}
        self.columns = [column[i] for i in range(len(functions))]
        self._only_g4 = all(function.family == "g4" for function in functions)
        # Powers, decays and their products with matrices, of one group at a time; what is known of the triplet itself.
        self.numbers_per_triplet = max(4 * group.n_angles + 3 * group.n_widths for group in self._groups) + 25
        # One group's combinations: values or their gradients, and these times slopes.
        self.numbers_per_centre = 2 * max(group.n_angles * group.n_widths for group in self._groups)

    def values(self, shells: Shells) -> torch.Tensor:
        """Return each function's sum over the triplets, shape [c, n_functions], in the order of `columns`."""
        triplets = self._triplets(shells)
        if not triplets.places.numel():
            return shells.weights.new_zeros(len(shells.weights), len(self.columns))
        values = [group.values(triplets) for group in self._groups]
        return torch.cat(values, dim=1) if len(values) > 1 else values[0]

    def gradient(self, shells: Shells, value_gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the vectors, shape [c, k, 3].

        Args:
            shells: The neighbours.
            value_gradients: Gradient with respect to the values, shape [c, n_functions].
        """
        triplets = self._triplets(shells)
        if not triplets.places.numel():
            return torch.zeros_like(shells.vectors)
        parts = list(zip(self._groups, torch.split(value_gradients, self._sizes, dim=1), strict=True))
        by_cosine, sums = parts[0][0].gradient(triplets, parts[0][1])
        for group, by_value in parts[1:]:
            more_by_cosine, more_sums = group.gradient(triplets, by_value)
            by_cosine += more_by_cosine
            sums += more_sums
        term, term_g4, by_s_g4, by_s_g5 = sums.unbind(dim=1)
        outer_distances = triplets.outer_distances
        by_outer = by_s_g4 + term_g4 * log_slope(outer_distances, triplets.cutoffs) / (2.0 * outer_distances)
        crossed = by_cosine * triplets.inverse_products - 2.0 * by_outer
        own = 2.0 * (by_outer + by_s_g4 + by_s_g5)
        return _by_vectors(shells, triplets.places, crossed, own, by_cosine * triplets.cosines, term)

    def _triplets(self, shells: Shells) -> _Triplets:
        """Return the triplets that matter: for g4 alone, those with r_jk within the cutoff."""
        # Infinitely far for this purpose: no triplet has a neighbour that is filled in.
        squares = shells.squares.masked_fill(~shells.present, torch.inf)
        inner = squares[:, :, None] + squares[:, None, :]
        products = torch.bmm(shells.vectors, shells.vectors.transpose(1, 2))
        outer = torch.add(inner, products, alpha=-2.0)
        farthest = shells.cutoffs_between.square() if self._only_g4 else torch.inf
        # The comparison keeps pairs whose distance is not a number, so that NaN shows in the result.
        places = _padded((outer >= farthest).logical_not_().triu(1))

        def pick(dense: torch.Tensor) -> torch.Tensor:
            return dense.reshape(-1).index_select(0, places.view(-1)).view_as(places)

        inverses = 1.0 / shells.distances
        inverse_products = pick(inverses[:, :, None] * inverses[:, None, :])
        weights = (2.0 * shells.weights)[:, :, None] * shells.weights[:, None, :]
        # No triplet has this place, on a diagonal: it stands for those filled in.
        weights.view(-1)[0] = 0.0
        inner_squares, inner_products = pick(inner), pick(products)
        return _Triplets(
            places,
            # This does not go by way of r_jk, which loses digits where j is near and k is far.
            inner_products * inverse_products,
            inverse_products,
            inner_squares,
            torch.sub(inner_squares, inner_products, alpha=2.0).clamp(min=_SMALLEST_SQUARE),
            pick(shells.cutoffs_between) if shells.cutoffs_between.dim() else shells.cutoffs_between,
            pick(weights),
            self._only_g4,
        )


def _divide(functions: Sequence[Angular]) -> list[list[int]]:
    """Return the indices of functions in groups that have few combinations that are no function."""
    angles = sorted({function.angle for function in functions})
    n_widths = len({function.width for function in functions})
    if len(angles) * n_widths <= _MOST_COMBINATIONS * len(functions):
        return [list(range(len(functions)))]
    # A group of so many angles has no more widths than functions.
    groups = [set(angles[i : i + _MOST_COMBINATIONS]) for i in range(0, len(angles), _MOST_COMBINATIONS)]
    return [[i for i, function in enumerate(functions) if function.angle in group] for group in groups]


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


def _is_product(zeta: float) -> bool:
    """Return whether a power is computed by multiplication."""
    return zeta == int(zeta) and zeta <= _LARGEST_PRODUCT


def _product(zeta: int, known: dict[int, torch.Tensor]) -> torch.Tensor:
    """Return a whole power by multiplication of those known, 0 and 1 at least."""
    if zeta not in known:
        largest = 1 << ((zeta - 1).bit_length() - 1)
        known[zeta] = _product(largest, known) * _product(zeta - largest, known)
    return known[zeta]
