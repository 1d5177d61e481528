# SPDX-License-Identifier: LGPL-2.1-or-later
"""The angular symmetry functions g4 and g5 of one block of centres, and their gradient.

Both families are sums over triplets of  2 b^zeta exp(-eta S) w  with  b = (1 + lambda cos theta) / 2. The factor
b^zeta depends only on (lambda, zeta), here called an angle, the others only on (family, eta), here called a width.
Usual sets have few of each, and one product of matrices over a centre's triplets sums all their combinations. Where
most combinations are no function of the set, it is divided into groups of a few angles, which have few combinations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from kim_torchml.descriptors.symmetry_functions.shells import Shells, log_slope, smooth_cutoff

# Smallest r_jk^2, Å^2. It keeps roots and quotients finite in the padding.
_SMALLEST_SQUARE = 1e-30
# Largest number of combinations of an angle and a width that are computed for each function.
_MOST_COMBINATIONS = 8
# Largest whole power that is computed by multiplication; larger ones are computed like those that are not whole.
_LARGEST_PRODUCT = 64


@dataclass(frozen=True)
class AngularParameters:
    """Parameters of one function.

    Attributes:
        family: "g4" or "g5".
        zeta: Exponent of the dependence on the angle.
        slope: Parameter lambda of the dependence on the angle.
        eta: Exponent of the dependence on the distances, 1/Å^2.
    """

    family: str
    zeta: float
    slope: float
    eta: float

    @property
    def angle(self) -> tuple[float, float]:
        """The parameters of the dependence on the angle."""
        return self.slope, self.zeta

    @property
    def width(self) -> tuple[str, float]:
        """The parameters of the dependence on the distances."""
        return self.family, self.eta


@dataclass(frozen=True)
class _Triplets:
    """The triplets of a centre i and two of its neighbours, j < k, padded to t for each centre.

    Triplets of the padding have the weight 0.

    Attributes:
        places: Indices of j and k together in the flattened [c, k, k] arrays of the block, shape [c, t], int64.
        cosines: Cosines of the angle at the centre, shape [c, t].
        inverse_products: 1 / (r_ij r_ik), shape [c, t], 1/Å^2.
        inner: r_ij^2 + r_ik^2, shape [c, t], Å^2.
        outer: r_jk^2, shape [c, t], Å^2.
        cutoffs: Cutoffs for r_jk, shape [] or [c, t], Å.
        weights: 2 fc(r_ij) fc(r_ik), shape [c, t].
        all_near: Whether all triplets have r_jk within the cutoff.
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

    def __init__(self, functions: Sequence[AngularParameters], dtype: torch.dtype, device: torch.device) -> None:
        # The whole zetas of each slope come first, since `_powers` computes them in this order.
        angles = sorted({function.angle for function in functions}, key=lambda a: (a[0], not _is_product(a[1]), a[1]))
        widths = sorted({function.width for function in functions})
        self.n_angles, self.n_widths = len(angles), len(widths)
        columns = [angles.index(f.angle) * len(widths) + widths.index(f.width) for f in functions]
        self._columns = torch.tensor(columns, dtype=torch.int64, device=device)
        self._whole: dict[float, list[int]] = {slope: [] for slope, _ in angles}
        self._others: dict[float, torch.Tensor] = {}
        for slope in self._whole:
            zetas = [zeta for other, zeta in angles if other == slope]
            self._whole[slope] = [int(zeta) for zeta in zetas if _is_product(zeta)]
            others = [zeta - 1.0 for zeta in zetas if not _is_product(zeta)]
            self._others[slope] = torch.tensor(others, dtype=dtype, device=device)[:, None]
        self._n_g4 = sum(family == "g4" for family, _ in widths)
        minus_etas = torch.tensor([-eta for _, eta in widths], dtype=dtype, device=device)
        is_g4 = torch.arange(len(widths), dtype=torch.int64, device=device) < self._n_g4
        self._etas_g4, self._etas_g5 = minus_etas[: self._n_g4, None], minus_etas[self._n_g4 :, None]
        # Factors of the sums over the terms of a triplet: all terms, those of g4, the derivatives by S of g4 and of g5.
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

        For a centre with the matrix M of value gradients, the powers P and the decays D, the derivative of
        sum(M * P D^T) by cos theta of a triplet is the sum over angles of (M D) P'. The derivative by S is the sum over
        widths of -eta (M^T P) D.

        Args:
            triplets: The triplets.
            value_gradients: Gradient with respect to the values, shape [c, n_functions].
        Returns:
            The derivative by cos theta, shape [c, t]; and as shape [c, 4, t] the sum of all terms, the sum of the g4
            terms, the derivative of the g4 terms by S and that of the g5 terms.
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
                # This is much faster than pow(). It is less exact only where the power is close to 0.
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
        columns: Index of each function among the values.
        numbers_per_triplet: Approximate count of numbers in memory for each triplet.
        numbers_per_centre: Approximate count of numbers in memory for each centre besides those of its triplets.
    """

    def __init__(self, functions: Sequence[AngularParameters], dtype: torch.dtype, device: torch.device) -> None:
        """Divide functions into groups; tensors get the dtype and the device of the coordinates."""
        members = _divide(functions)
        self._groups = [_Group([functions[i] for i in some], dtype, device) for some in members]
        self._sizes = [len(some) for some in members]
        column = {i: c for c, i in enumerate(i for some in members for i in some)}
        self.columns = [column[i] for i in range(len(functions))]
        self._only_g4 = all(function.family == "g4" for function in functions)
        # One group at a time has its powers, decays and their products with matrices in memory; 25 numbers describe the
        # triplet itself.
        self.numbers_per_triplet = max(4 * group.n_angles + 3 * group.n_widths for group in self._groups) + 25
        # The combinations of one group: values or their gradients, and these multiplied by slopes.
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
        """Return the triplets; without g5, only those with r_jk within the cutoff."""
        # Padding counts as infinitely far away, so that no triplet includes it.
        squares = shells.squares.masked_fill(~shells.present, torch.inf)
        inner = squares[:, :, None] + squares[:, None, :]
        products = torch.bmm(shells.vectors, shells.vectors.transpose(1, 2))
        outer = torch.add(inner, products, alpha=-2.0)
        farthest = shells.cutoffs_between.square() if self._only_g4 else torch.inf
        # A NaN makes this comparison false, so the triplet stays and the NaN shows in the result.
        places = _padded((outer >= farthest).logical_not_().triu(1))

        def pick(dense: torch.Tensor) -> torch.Tensor:
            return dense.reshape(-1).index_select(0, places.view(-1)).view_as(places)

        inverses = 1.0 / shells.distances
        inverse_products = pick(inverses[:, :, None] * inverses[:, None, :])
        weights = (2.0 * shells.weights)[:, :, None] * shells.weights[:, None, :]
        # No triplet has a place on a diagonal; this one stands for the padding.
        weights.view(-1)[0] = 0.0
        inner_squares, inner_products = pick(inner), pick(products)
        return _Triplets(
            places,
            # A cosine computed from r_jk would lose digits where j is near and k is far.
            inner_products * inverse_products,
            inverse_products,
            inner_squares,
            torch.sub(inner_squares, inner_products, alpha=2.0).clamp(min=_SMALLEST_SQUARE),
            pick(shells.cutoffs_between) if shells.cutoffs_between.dim() else shells.cutoffs_between,
            pick(weights),
            self._only_g4,
        )


def _divide(functions: Sequence[AngularParameters]) -> list[list[int]]:
    """Return the indices of functions, in groups where most combinations of an angle and a width are functions."""
    angles = sorted({function.angle for function in functions})
    n_widths = len({function.width for function in functions})
    if len(angles) * n_widths <= _MOST_COMBINATIONS * len(functions):
        return [list(range(len(functions)))]
    # A group has no more widths than functions, so the limit holds with _MOST_COMBINATIONS angles in each.
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

    Each triplet adds to the gradient with respect to r_ij
    crossed r_ik + (own - cosine / r_ij^2 + term d log(fc(r_ij)) / d r_ij / r_ij) r_ij,
    and to that with respect to r_ik the same with j and k exchanged.

    Args:
        shells: The neighbours.
        places: Places of the triplets, shape [c, t].
        crossed: Derivative by r_ij . r_ik, shape [c, t].
        own: Twice the derivative by r_ij^2 at a fixed angle and a fixed cutoff function, shape [c, t].
        cosine: cos theta times the derivative by cos theta, shape [c, t].
        term: Sum of the triplet's terms, shape [c, t].
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
    """Return the flat indices of the true entries of an array [c, k, k], padded with 0 to shape [c, t]."""
    c = len(chosen)
    places = chosen.view(-1).nonzero()[:, 0]
    counts = chosen.sum(dim=(1, 2))
    t = int(counts.max())
    gaps = torch.arange(c, dtype=torch.int64, device=counts.device) * t - counts.cumsum(0) + counts
    slots = torch.arange(len(places), dtype=torch.int64, device=places.device)
    slots += gaps.repeat_interleave(counts, output_size=len(places))
    return places.new_zeros(c * t).index_copy_(0, slots, places).view(c, t)


def _is_product(zeta: float) -> bool:
    """Return whether a power is computed by multiplication."""
    return zeta == int(zeta) and zeta <= _LARGEST_PRODUCT


def _product(zeta: int, known: dict[int, torch.Tensor]) -> torch.Tensor:
    """Return a whole power by multiplying known powers, among which are 0 and 1; it becomes known itself."""
    if zeta not in known:
        largest = 1 << ((zeta - 1).bit_length() - 1)
        known[zeta] = _product(largest, known) * _product(zeta - largest, known)
    return known[zeta]
