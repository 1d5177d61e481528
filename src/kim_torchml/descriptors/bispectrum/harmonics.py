# SPDX-License-Identifier: LGPL-2.1-or-later
"""Harmonics of the unit sphere in four dimensions, in which the bispectrum's neighbour density is expanded.

A point q = (w, x, y, z) with w² + x² + y² + z² = 1. The harmonics of degree n are

    C[n - ell, ell](w) S[ell, m](x, y, z),    ell = 0..n,    m = -ell..ell,

C[k, ell] being the Gegenbauer polynomial of degree k and index ell + 1, and S[ell, m] the real solid harmonic of
degree ell in Racah's normalisation: the sum over m of S[ell, m](u) S[ell, m](v) is the Legendre polynomial of the
cosine of the angle between u and v, times |u|^ell |v|^ell. These are polynomials in q: singular nowhere.
Rows of Gegenbauer polynomials are in the order of k, then ell (k + ell <= degree); rows of solid harmonics are in the
order of ell, then m.

Source: NIST Digital Library of Mathematical Functions, 18.9 (recurrences), 18.18.8 (addition theorem);
E. W. Hobson, The theory of spherical and ellipsoidal harmonics, Cambridge 1931, chapter 3 (derivatives).
"""

from dataclasses import dataclass
from math import factorial, sqrt

import torch


def gegenbauer_row(k: int, ell: int, degree: int) -> int:
    """Return the row of C[k, ell] among those with k + ell <= degree."""
    return k * (degree + 1) - k * (k - 1) // 2 + ell


def solid_row(ell: int, m: int) -> int:
    """Return the row of S[ell, m]."""
    return ell * ell + ell + m


def kernel_coefficient(n: int, ell: int) -> float:
    """Return the weight of degree ell in the kernel of degree n.

    With h[n, ell, m](q) = C[n - ell, ell](w) S[ell, m](x, y, z) and the Chebyshev polynomial of the second kind U_n,
    U_n(q.q') = sum over ell, m of this x h[n, ell, m](q) h[n, ell, m](q').
    """
    return 4.0**ell * (2 * ell + 1) * factorial(ell) ** 2 * factorial(n - ell) / factorial(n + ell + 1)


@dataclass(frozen=True)
class Recurrences:
    """Coefficients of the recurrences up to a degree, in one dtype and on one device.

    Attributes:
        degree: Largest degree of the harmonics.
        gegenbauer: For each k >= 1, the factors of w C[k - 1, ell] and of C[k - 2, ell] in C[k, ell], each of shape
            [., 1].
        gegenbauer_raised: Indices of the rows of C that the derivatives of the rows with k >= 1 consist of, in their
            order.
        gegenbauer_derivative: Factors 2 ell of those rows in the derivatives, shape [., 1].
        solid: For each ell >= 1, the factors of z S[ell - 1, m] and of (x² + y² + z²) S[ell - 2, m] in S[ell, m],
            each of shape [., 1].
        solid_gradient: Derivatives of S[ell, m] with respect to x, y and z as sums of solid harmonics of degree
            ell - 1, transposed for the chain rule: shape [3 degree², (degree + 1)²].
    """

    degree: int
    gegenbauer: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    gegenbauer_raised: torch.Tensor
    gegenbauer_derivative: torch.Tensor
    solid: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    solid_gradient: torch.Tensor


def recurrences(degree: int, dtype: torch.dtype, device: torch.device) -> Recurrences:
    """Return the coefficients of the recurrences."""

    def column(numbers: list[float]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=dtype, device=device).unsqueeze(1)

    gegenbauer = [
        (
            column([2 * (k + ell) / k for ell in range(degree - k + 1)]),
            column([(k + 2 * ell) / k for ell in range(degree - k + 1)]),
        )
        for k in range(1, degree + 1)
    ]
    solid = [
        (
            column([(2 * ell - 1) / sqrt(ell * ell - m * m) for m in range(1 - ell, ell)]),
            column([sqrt(((ell - 1) ** 2 - m * m) / (ell * ell - m * m)) for m in range(2 - ell, ell - 1)]),
        )
        for ell in range(1, degree + 1)
    ]
    raised = [(k, ell) for k in range(degree) for ell in range(1, degree - k + 1)]
    return Recurrences(
        degree=degree,
        gegenbauer=tuple(gegenbauer),
        gegenbauer_raised=torch.tensor(
            [gegenbauer_row(k, ell, degree) for k, ell in raised], dtype=torch.int64, device=device
        ),
        gegenbauer_derivative=column([2.0 * ell for _, ell in raised]),
        solid=tuple(solid),
        solid_gradient=_solid_gradient(degree).to(dtype=dtype, device=device),
    )


def gegenbauer(w: torch.Tensor, coefficients: Recurrences) -> torch.Tensor:
    """Return the Gegenbauer polynomials C[k, ell] of w.

    Args:
        w: Arguments, shape [p].
        coefficients: Coefficients of the recurrences.
    Returns:
        Values, shape [(degree + 1)(degree + 2) / 2, p].
    """
    rows = [torch.ones_like(w).expand(coefficients.degree + 1, -1)]
    for k, (previous_factor, before_factor) in enumerate(coefficients.gegenbauer, start=1):
        row = rows[-1][:-1] * w * previous_factor
        rows.append(row if k == 1 else torch.addcmul(row, rows[-2][:-2], before_factor, value=-1.0))
    return torch.cat(rows)


def solid_harmonics(point: torch.Tensor, coefficients: Recurrences) -> torch.Tensor:
    """Return the real solid harmonics S[ell, m] of a point.

    Args:
        point: x, y and z, shape [3, p].
        coefficients: Coefficients of the recurrences.
    Returns:
        Values, shape [(degree + 1)², p].
    """
    x, y, z = point
    square = (point * point).sum(0)
    rows = [torch.ones_like(x).unsqueeze(0)]
    for ell, (previous_factor, before_factor) in enumerate(coefficients.solid, start=1):
        previous = rows[-1]
        inner = previous * z * previous_factor
        if ell == 1:
            rows.append(torch.stack([y, inner[0], x]))
            continue
        middle = torch.addcmul(inner[1:-1], rows[-2] * square, before_factor, value=-1.0)
        outermost = sqrt((2 * ell - 1) / (2 * ell))
        sine = (x * previous[0] + y * previous[-1]) * outermost
        cosine = (x * previous[-1] - y * previous[0]) * outermost
        rows.append(torch.cat([sine.unsqueeze(0), inner[:1], middle, inner[-1:], cosine.unsqueeze(0)]))
    return torch.cat(rows)


def _solid_gradient(degree: int) -> torch.Tensor:
    """Return d S[ell, m] / d(x, y, z) as sums of solid harmonics, shape [3 degree², (degree + 1)²]."""
    gradient = torch.zeros((3, degree**2, (degree + 1) ** 2), dtype=torch.float64, device="cpu")

    def add(axis: int, of: tuple[int, int], lower: tuple[int, int], factor: float) -> None:
        if abs(lower[1]) <= lower[0]:
            gradient[axis, solid_row(*lower), solid_row(*of)] += factor

    for ell in range(1, degree + 1):
        add(0, (ell, 0), (ell - 1, 1), -sqrt(ell * (ell - 1) / 2))
        add(1, (ell, 0), (ell - 1, -1), -sqrt(ell * (ell - 1) / 2))
        for m in range(1 - ell, ell):
            add(2, (ell, m), (ell - 1, m), sqrt(ell * ell - m * m))
        for m in range(1, ell + 1):
            down = sqrt((ell + m) * (ell + m - 1)) / 2 * (sqrt(2) if m == 1 else 1)
            up = sqrt((ell - m) * (ell - m - 1)) / 2
            add(0, (ell, m), (ell - 1, m - 1), down)
            add(0, (ell, m), (ell - 1, m + 1), -up)
            add(0, (ell, -m), (ell - 1, -m - 1), -up)
            add(1, (ell, m), (ell - 1, -m - 1), -up)
            add(1, (ell, -m), (ell - 1, m + 1), up)
            add(1, (ell, -m), (ell - 1, m - 1), down)
            if m > 1:
                add(0, (ell, -m), (ell - 1, 1 - m), down)
                add(1, (ell, m), (ell - 1, 1 - m), -down)
    return gradient.reshape(3 * degree**2, (degree + 1) ** 2)
