# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real spherical harmonics of unit vectors, and the gradient of sums of them, by recursion in x, y, z.

Y_l,m = Q_lm(z) Re (x + i y)^m and Y_l,-m = Q_lm(z) Im (x + i y)^m, where Q_lm is the polynomial
N_lm d^m P_l / dz^m, normalised so that the Y are orthonormal on the sphere. Nothing is divided by the distance from
the z axis, so the poles are no exception.

In an array of harmonics, those of degree l are the rows l² ... l² + 2 l, in the order m = 0, 1 ... l, -1 ... -l.
"""

from dataclasses import dataclass
from math import pi, sqrt

import torch


@dataclass(frozen=True)
class Polynomials:
    """The factors of the harmonics of p unit vectors.

    Attributes:
        legendre: Polynomials Q_lm of each degree l, m = 0 ... l, shape [l + 1, p].
        cosines: Re (x + i y)^m, m = 0 ... l_max, shape [l_max + 1, p].
        sines: Im (x + i y)^m, m = 0 ... l_max, shape [l_max + 1, p].
    """

    legendre: list[torch.Tensor]
    cosines: torch.Tensor
    sines: torch.Tensor


class SphericalHarmonics:
    """Real spherical harmonics up to a degree.

    Source:
        F. Bigi, G. Fraux, N. J. Browning, M. Ceriotti, J. Chem. Phys. 159 (2023) 064802 (the factorisation);
        NIST Digital Library of Mathematical Functions, 14.10 (the recursion).
    """

    def __init__(self, l_max: int, dtype: torch.dtype, device: torch.device) -> None:
        """Prepare the coefficients of the recursions for unit vectors of this type."""

        def column(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        degrees = range(l_max + 1)
        self.l_max = l_max
        self._diagonal = _diagonal(l_max)
        # Q_lm = rise_lm z Q_(l-1)m - fall_lm Q_(l-2)m for m < l
        self._rise = [column([_rise(degree, m) for m in range(degree)]) for degree in degrees]
        self._fall = [
            column([_rise(degree, m) / _rise(degree - 1, m) for m in range(degree - 1)]) for degree in degrees
        ]
        # d Q_lm / dz = slope_lm Q_l(m+1) for m < l
        self._slope = [column([_slope(degree, m) for m in range(degree)]) for degree in degrees]
        self._orders = column([float(m) for m in range(1, l_max + 1)])

    def polynomials(self, vectors: torch.Tensor) -> Polynomials:
        """Return the factors of the harmonics.

        Args:
            vectors: Unit vectors, shape [3, p].
        """
        x, y, z = vectors.unbind(0)
        one = torch.ones_like(z)
        legendre, cosines, sines = [(one * self._diagonal[0])[None]], [one], [torch.zeros_like(z)]
        for degree in range(1, self.l_max + 1):
            cosine, sine = cosines[-1], sines[-1]
            cosines.append(x * cosine - y * sine)
            sines.append(x * sine + y * cosine)
            rows = self._rise[degree] * (z * legendre[-1])
            if degree > 1:
                rows = torch.cat([rows[:-1] - self._fall[degree] * legendre[-2], rows[-1:]])
            legendre.append(torch.cat([rows, (one * self._diagonal[degree])[None]]))
        return Polynomials(legendre, torch.stack(cosines), torch.stack(sines))

    def values(self, polynomials: Polynomials) -> torch.Tensor:
        """Return the harmonics, shape [(l_max + 1)², p]."""
        cosines, sines = polynomials.cosines, polynomials.sines
        blocks = []
        for degree, rows in enumerate(polynomials.legendre):
            blocks += [rows * cosines[: degree + 1], rows[1:] * sines[1 : degree + 1]]
        return torch.cat(blocks)

    def gradient(self, polynomials: Polynomials, weights: torch.Tensor) -> torch.Tensor:
        """Return the gradient of a sum of weighted harmonics with respect to x, y, z, shape [3, p].

        x, y and z count as independent here. The caller removes the part along the vector, which leaves the sphere.

        Args:
            polynomials: The factors of the harmonics.
            weights: Weights of the harmonics, shape [(l_max + 1)², p].
        """
        cosines, sines = polynomials.cosines, polynomials.sines
        by_cosines, by_sines = torch.zeros_like(cosines), torch.zeros_like(sines)
        gradient = cosines.new_zeros(3, cosines.shape[1])
        for degree, rows in enumerate(polynomials.legendre[1:], start=1):
            first, middle, last = degree**2, degree**2 + degree + 1, (degree + 1) ** 2
            even, odd = weights[first:middle], weights[middle:last]
            by_cosines[: degree + 1].addcmul_(rows, even)
            by_sines[1 : degree + 1].addcmul_(rows[1:], odd)
            by_legendre = even[:-1] * cosines[:degree]
            by_legendre[1:].addcmul_(odd[:-1], sines[1:degree])
            gradient[2] += by_legendre.mul_(rows[1:]).mul_(self._slope[degree]).sum(0)
        by_cosines = by_cosines[1:].mul_(self._orders)
        by_sines = by_sines[1:].mul_(self._orders)
        gradient[0] = (by_cosines * cosines[:-1]).addcmul_(by_sines, sines[:-1]).sum(0)
        gradient[1] = (by_sines * cosines[:-1]).addcmul_(by_cosines, sines[:-1], value=-1).sum(0)
        return gradient


def _diagonal(l_max: int) -> list[float]:
    """Return Q_mm, which is constant, m = 0 ... l_max."""
    values = [sqrt(1.0 / (4.0 * pi))]
    for m in range(1, l_max + 1):
        # The real harmonics with m > 0 carry a factor sqrt(2), which enters with m = 1.
        values.append(values[-1] * sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1)))
    return values


def _rise(degree: int, m: int) -> float:
    return sqrt((4 * degree**2 - 1) / (degree**2 - m**2))


def _slope(degree: int, m: int) -> float:
    return sqrt((degree - m) * (degree + m + 1) / (2 if m == 0 else 1))
