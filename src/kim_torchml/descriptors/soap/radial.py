# SPDX-License-Identifier: LGPL-2.1-or-later
"""SOAP's radial integrals, tabulated once for each set of parameters as Chebyshev series in the distance."""

from functools import lru_cache

import numpy as np

from kim_torchml.descriptors.soap.basis import Array, radial_basis
from kim_torchml.errors import DriverError

# Number of Gauss-Legendre points in libdescriptor. Where the quadrature has not converged, it changes the values.
N_QUADRATURE_POINTS = 100
# Largest eta times the square of a cutoff. Narrower Gaussians fit between two points of the quadrature, which then
# gives arbitrary values.
_SHARPEST = 1e4
# Terms of a series below this fraction of the sum's size are rounding errors, and the series ends before them.
_NEGLIGIBLE = 4e-16


def scaled_bessel(l_max: int, x: Array) -> Array:
    """Return exp(-x) i_l(x), with the modified spherical Bessel functions of the first kind.

    The ratios i_(l+1) / i_l are found by recursion downwards from far above l_max, which is stable.

    Args:
        l_max: Largest order.
        x: Arguments, not negative, any shape.
    Returns:
        Values, shape [l_max + 1, *x.shape].
    Source:
        NIST Digital Library of Mathematical Functions, 10.47, 10.49, 10.51.
    """
    start = l_max + 20 + int(8.0 * np.sqrt(x.max(initial=0.0)))
    ratios = np.zeros((l_max + 1, *x.shape))
    ratio = np.zeros_like(x)
    for order in range(start, 0, -1):  # from i_(order + 1) / i_order to i_order / i_(order - 1)
        ratio = x / (x * ratio + 2 * order + 1)
        if order <= l_max:
            ratios[order] = ratio
    # (1 - exp(-2 x)) / (2 x), which is 1 at 0
    ratios[0] = np.divide(-np.expm1(-2.0 * x), 2.0 * x, out=np.ones_like(x), where=x > 0.0)
    values: Array = np.multiply.accumulate(ratios, axis=0)
    return values


@lru_cache(maxsize=8)
def _quadrature(n_max: int, cutoff: float) -> tuple[Array, Array]:
    """Return the points x_k, shape [k], and w_k x_k² g_n(x_k), shape [k, n_max]."""
    nodes, weights = np.polynomial.legendre.leggauss(N_QUADRATURE_POINTS)
    points = 0.5 * cutoff * (nodes + 1.0)
    return points, radial_basis(n_max, cutoff, points) * (weights * points**2)[:, None]


def radial_integrals(n_max: int, l_max: int, cutoff: float, eta: float, distances: Array) -> Array:
    """Return libdescriptor's radial integrals of a neighbour's Gaussian.

    f_nl(r) = sum_k w_k x_k² g_n(x_k) exp(-eta (x_k² + r²)) i_l(2 eta x_k r), with 100 Gauss-Legendre points x_k in
    (0, cutoff). The weights w_k are those of the interval (-1, 1): libdescriptor leaves out the factor cutoff / 2.

    Args:
        n_max: Number of radial functions.
        l_max: Largest order of the spherical harmonics.
        cutoff: End of the radial functions' range, Å.
        eta: Exponent of the Gaussian, 1/Å².
        distances: Distances of the neighbours, shape [k], Å.
    Returns:
        Values, shape [k, (l_max + 1) n_max], n running fastest, Å^(1/2).
    Source:
        libdescriptor, SOAP; L. Himanen et al., Comput. Phys. Commun. 247 (2020) 106949.
    """
    points, basis = _quadrature(n_max, cutoff)
    return _integrate(l_max, eta, distances, points, basis)


def _integrate(l_max: int, eta: float, distances: Array, points: Array, basis: Array) -> Array:
    bessel = scaled_bessel(l_max, 2.0 * eta * distances[:, None] * points)
    gaussian = np.exp(-eta * (distances[:, None] - points) ** 2)
    return np.concatenate([(bessel[degree] * gaussian) @ basis for degree in range(l_max + 1)], axis=1)


def tabulate(n_max: int, l_max: int, cutoff: float, eta: float, reach: float) -> Array:
    """Return the radial integrals of neighbours at distances r < reach as Chebyshev series in x = 2 r / reach - 1.

    The series end where their terms are rounding errors, so that the error is about 1e-14 of the largest value.

    Args:
        n_max: Number of radial functions.
        l_max: Largest order of the spherical harmonics.
        cutoff: End of the radial functions' range, Å.
        eta: Exponent of the Gaussian, 1/Å².
        reach: Distance below which neighbours count, Å. A neighbour beyond the cutoff adds the part of its Gaussian
            that lies within the cutoff.
    Returns:
        Coefficients, shape [(l_max + 1) n_max, degree + 1], n running fastest, Å^(1/2).
    Raises:
        DriverError: If the Gaussians are too narrow, or the overlaps of the radial functions too near to singular.
    """
    largest = max(cutoff, reach)
    if eta * largest**2 > _SHARPEST:
        raise DriverError(
            f"SOAP's `eta` must be at most {_SHARPEST / largest**2:.6g} 1/Å² with a cutoff of {largest} Å, got {eta}: "
            f"narrower Gaussians fall between the {N_QUADRATURE_POINTS} quadrature points; use a smaller eta or cutoff"
        )
    points, basis = _quadrature(n_max, cutoff)
    for n_terms in (64, 128, 256, 512, 1024):
        degrees = np.arange(n_terms)
        # These are cos(k (j + 1/2) pi / n_terms). The angle is reduced in integers, since the rounding of a large angle
        # would hide the last terms.
        cosines = np.cos((np.pi / (2 * n_terms)) * (degrees[:, None] * (2 * degrees + 1) % (4 * n_terms)))
        distances = 0.5 * reach * (cosines[1] + 1.0)
        series = (2.0 / n_terms) * cosines @ _integrate(l_max, eta, distances, points, basis)
        series[0] *= 0.5
        summed_up = _integrate(l_max, eta, distances, points, np.abs(basis)).max(axis=0)
        (needed,) = np.nonzero((np.abs(series) > _NEGLIGIBLE * summed_up).any(axis=1))
        if needed[-1] < n_terms // 2:
            break  # The terms left out are rounding errors too; the largest number of terms is always enough.
    return np.ascontiguousarray(series[: needed[-1] + 1].T)


def differentiate(series: Array, reach: float) -> Array:
    """Return the derivatives of Chebyshev series in x = 2 r / reach - 1 with respect to r, padded to their length."""
    slopes = np.polynomial.chebyshev.chebder(series, axis=1) * (2.0 / reach)
    return np.pad(slopes, [(0, 0), (0, series.shape[1] - slopes.shape[1])])
