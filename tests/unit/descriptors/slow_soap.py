# SPDX-License-Identifier: LGPL-2.1-or-later
"""SOAP by its definition: complex spherical harmonics, integrals over the radius, one neighbour at a time."""

from math import factorial, pi, sqrt

import numpy as np
from scipy.integrate import quad
from scipy.linalg import inv, sqrtm
from scipy.special import ive, lpmv


def basis_functions(n_max, cutoff):
    """A function that returns the orthonormal radial functions at a distance, shape [n_max]."""
    n = np.arange(1, n_max + 1)
    sums = n[:, None] + n
    overlaps = 2.0 * cutoff ** (7.0 + sums) / ((5 + sums) * (6 + sums) * (7 + sums))
    mixing = sqrtm(inv(overlaps)).real
    return lambda r: (cutoff - r) ** (n + 2) @ mixing


def radial_integral(basis, n, degree, cutoff, eta, distance):
    """Integral over the radius of r² g_n(r) exp(-eta (r² + distance²)) i_l(2 eta r distance), times 2 / cutoff."""

    def integrand(r):
        x = 2.0 * eta * r * distance
        bessel = sqrt(pi / (2.0 * x)) * ive(degree + 0.5, x) * np.exp(-eta * (r - distance) ** 2)
        return r**2 * basis(r)[n] * bessel

    return quad(integrand, 0.0, cutoff, epsabs=1e-14, epsrel=1e-13, limit=200)[0] * 2.0 / cutoff


def harmonics(l_max, vector):
    """Complex spherical harmonics with m >= 0, shape [l_max + 1, l_max + 1]; zero where m > l."""
    values = np.zeros((l_max + 1, l_max + 1), dtype=complex)
    x, y, z = vector
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            norm = sqrt((2 * degree + 1) / (4.0 * pi) * factorial(degree - m) / factorial(degree + m))
            legendre = lpmv(m, degree, z / np.linalg.norm(vector))
            values[degree, m] = norm * legendre * np.exp(1j * m * np.arctan2(y, x))
    return values


def density(parameters, vectors, codes):
    """Coefficients of the densities, shape [n_species, n_max, l_max + 1, l_max + 1]; each with those before it."""
    n_max, l_max = parameters.n_max, parameters.l_max
    basis = basis_functions(n_max, parameters.cutoff)
    total = np.zeros((len(parameters.species), n_max, l_max + 1, l_max + 1), dtype=complex)
    for vector, code in zip(vectors, codes, strict=True):
        distance = np.linalg.norm(vector)
        if distance >= (parameters.neighbour_cutoff or parameters.cutoff):
            continue
        radial = [
            [
                radial_integral(basis, n, degree, parameters.cutoff, parameters.eta, distance)
                for degree in range(l_max + 1)
            ]
            for n in range(n_max)
        ]
        total[code:] += np.array(radial)[:, :, None] * harmonics(l_max, vector)
    return total


def power_spectrum(parameters, vectors, codes):
    """The power spectrum of one centre, given the vectors to its neighbours and their species."""
    c = density(parameters, vectors, codes)
    n_species, n_max, n_degrees, _ = c.shape
    # m < 0 are the conjugates of m > 0
    twice = np.where(np.arange(n_degrees) > 0, 2.0, 1.0)
    values = []
    for first in range(n_species):
        for second in range(first, n_species):
            for n in range(n_max):
                for m in range(n, n_max):
                    for degree in range(n_degrees):
                        total = (twice * (c[first, n, degree] * c[second, m, degree].conj()).real).sum()
                        values.append(4.0 * pi**3 * sqrt(8.0 / (2 * degree + 1)) * total)
    return np.array(values)
