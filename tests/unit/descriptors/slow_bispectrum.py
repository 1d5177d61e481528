# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bispectrum by its definition: Wigner matrices and Clebsch-Gordan coefficients, one centre, one sum at a time."""

from math import comb, cos, factorial, pi, sin, sqrt

import numpy as np


def clebsch_gordan(j1, m1, j2, m2, j, m):
    """<j1 m1 j2 m2 | j m> by Racah's formula; all arguments doubled."""
    if m1 + m2 != m or abs(m) > j:
        return 0.0

    def half(value):
        return factorial(value // 2)

    delta = half(j1 + j2 - j) * half(j1 - j2 + j) * half(j2 - j1 + j) / half(j1 + j2 + j + 2)
    moments = half(j1 + m1) * half(j1 - m1) * half(j2 + m2) * half(j2 - m2) * half(j + m) * half(j - m)
    total = 0.0
    for k in range((j1 + j2 - j) // 2 + 1):
        terms = [
            2 * k,
            j1 + j2 - j - 2 * k,
            j1 - m1 - 2 * k,
            j2 + m2 - 2 * k,
            j - j2 + m1 + 2 * k,
            j - j1 - m2 + 2 * k,
        ]
        if min(terms) >= 0:
            total += (-1) ** k / np.prod([float(half(term)) for term in terms])
    return sqrt((j + 1) * delta * moments) * total


def coupling(j1, j2, j):
    """Clebsch-Gordan coefficients of a triple, shape [j + 1, j1 + 1, j2 + 1]; m ascending."""
    return np.array(
        [
            [
                [clebsch_gordan(j1, 2 * m1 - j1, j2, 2 * m2 - j2, j, 2 * m - j) for m2 in range(j2 + 1)]
                for m1 in range(j1 + 1)
            ]
            for m in range(j + 1)
        ]
    )


def wigner(a, b, j):
    """The matrix of spin j / 2 that represents [[a, b], [-b*, a*]], from its action on u^(j + m) v^(j - m)."""
    matrix = np.zeros((j + 1, j + 1), dtype=complex)
    for column in range(j + 1):
        # (a u - b* v)^column (b u + a* v)^(j - column)
        for p in range(column + 1):
            for q in range(j - column + 1):
                term = comb(column, p) * a**p * (-np.conj(b)) ** (column - p)
                term *= comb(j - column, q) * b**q * np.conj(a) ** (j - column - q)
                norm = factorial(p + q) * factorial(j - p - q) / (factorial(column) * factorial(j - column))
                matrix[p + q, column] += term * sqrt(norm)
    return matrix


def density(vectors, weights, cutoffs, twojmax, rfac0, rmin0, switch):
    """Sums of Wigner matrices over the neighbours of one centre and itself."""
    totals = [np.eye(j + 1, dtype=complex) for j in range(twojmax + 1)]
    for (x, y, z), weight, cutoff in zip(vectors, weights, cutoffs, strict=True):
        r = sqrt(x * x + y * y + z * z)
        if r >= cutoff:
            continue
        phase = pi * (r - rmin0) / (cutoff - rmin0)
        z0 = r * cos(rfac0 * phase) / sin(rfac0 * phase)
        a, b = np.array([z0 - 1j * z, y - 1j * x]) / sqrt(r * r + z0 * z0)
        fade = 0.5 * (cos(phase) + 1) if switch and r > rmin0 else 1.0
        for j in range(twojmax + 1):
            totals[j] += weight * fade * wigner(a, b, j)
    return totals


def component(totals, j1, j2, j):
    """One component of a density; arguments doubled. 0 where the three do not couple."""
    if (j1 + j2 + j) % 2:
        return 0.0
    c = coupling(j1, j2, j)
    value = np.einsum("mn,mab,ncd,ac,bd->", totals[j].conj(), c, c, totals[j1], totals[j2], optimize=True)
    assert abs(value.imag) < 1e-9 * (1 + abs(value))
    return value.real


def labels(twojmax, diagonalstyle):
    """(2 j1, 2 j2, 2 j) in order, as LAMMPS documents the four styles."""
    numbers = range(twojmax + 1)
    every = [(j1, j2, j) for j1 in numbers for j2 in numbers for j in numbers if j2 <= j1]
    if diagonalstyle == 2:
        return [(j1, j2, j) for j1, j2, j in every if j1 == j2 == j]
    coupled = [(j1, j2, j) for j1, j2, j in every if j1 - j2 <= j <= j1 + j2 and (j1 + j2 + j) % 2 == 0]
    chosen = {0: lambda j1, j2, j: True, 1: lambda j1, j2, j: j1 == j2, 3: lambda j1, j2, j: j >= j1}
    return [label for label in coupled if chosen[diagonalstyle](*label)]
