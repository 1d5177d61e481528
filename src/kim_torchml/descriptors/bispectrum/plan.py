# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables that are the same for every configuration: the components, the harmonics, and the grid to integrate on."""

from dataclasses import dataclass
from math import pi

import numpy as np
import torch

from kim_torchml.descriptors.bispectrum.harmonics import (
    Recurrences,
    gegenbauer,
    gegenbauer_row,
    kernel_coefficient,
    recurrences,
    solid_harmonics,
    solid_row,
)


def components(twojmax: int, diagonalstyle: int) -> list[tuple[int, int, int]]:
    """Return (2 j1, 2 j2, 2 j) of each component, in the order of libdescriptor and of LAMMPS' `diagonal` styles.

    Args:
        twojmax: Twice the band limit.
        diagonalstyle: Choice of components. 0: all with j2 <= j1; 1: j1 = j2; 2: j1 = j2 = j, of which those with an
            odd 2 j are 0; 3: j2 <= j1 <= j.
    """
    allowed = [
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
    ]
    if diagonalstyle == 1:
        return [(j1, j2, j) for j1, j2, j in allowed if j1 == j2]
    if diagonalstyle == 2:
        return [(j, j, j) for j in range(twojmax + 1)]
    if diagonalstyle == 3:
        return [(j1, j2, j) for j1, j2, j in allowed if j >= j1]
    return allowed


def is_coupled(component: tuple[int, int, int]) -> bool:
    """Return whether a component has Clebsch-Gordan coefficients; without any, it is always 0."""
    return sum(component) % 2 == 0


def pair_row(a: int, b: int) -> int:
    """Return the row of the product f_a f_b, a >= b, among all such products."""
    return a * (a + 1) // 2 + b


def first_harmonic(n: int) -> int:
    """Return the index of the first harmonic of degree n among all harmonics, which are in the order of n, ell, m."""
    return n * (n + 1) * (2 * n + 1) // 6


@dataclass(frozen=True)
class Plan:
    """The tables that a bispectrum is computed with, in one dtype and on one device.

    Products of three functions f_n, n = 0..twojmax, are integrated on a grid of g points. The harmonics on the grid are
    multiplied by the cube root of the points' weights, so that the integral of f_a f_b f_c is a plain sum.

    Attributes:
        twojmax: Largest degree n.
        recurrences: Coefficients of the recurrences that give the harmonics of the neighbours.
        expansion: For each harmonic, in the order of n, ell, m: Gegenbauer row x number of solid rows + solid row;
            shape [h].
        own: Expansion of the centre itself, shape [h].
        harmonics: For each n, weighted harmonics on the grid, shape [(n + 1)², g].
        picks: For each component, row of f_a f_b x (twojmax + 1) + c; shape [width].
        scale: For each component, 2 j + 1, or 0 where it is not coupled; shape [width].
        products: d (sum of component x weight) / d f_a = sum over pairs (b, c) of this x f_b f_c, as a matrix from
            weights to pairs; shape [width, (twojmax + 1) n_pairs].
    """

    twojmax: int
    recurrences: Recurrences
    expansion: torch.Tensor
    own: torch.Tensor
    harmonics: tuple[torch.Tensor, ...]
    picks: torch.Tensor
    scale: torch.Tensor
    products: torch.Tensor


def make_plan(twojmax: int, diagonalstyle: int, dtype: torch.dtype, device: torch.device) -> Plan:
    """Return the tables for a band limit and a choice of components."""
    double, cpu = torch.float64, torch.device("cpu")
    exact = recurrences(twojmax, double, cpu)
    labels = [(n, ell, m) for n in range(twojmax + 1) for ell in range(n + 1) for m in range(-ell, ell + 1)]
    rows = [(gegenbauer_row(n - ell, ell, twojmax), solid_row(ell, m)) for n, ell, m in labels]
    polynomials, solids = torch.tensor(rows, dtype=torch.int64, device=cpu).unbind(1)

    def harmonics(points: torch.Tensor) -> torch.Tensor:
        values = gegenbauer(points[0], exact)[polynomials]
        return values.mul_(solid_harmonics(points[1:], exact)[solids])

    points, weights = rotation_grid(3 * twojmax // 2)
    norms = torch.tensor([kernel_coefficient(n, ell) for n, ell, _ in labels], dtype=double, device=cpu)
    on_grid = harmonics(points).mul_(norms.unsqueeze(1)).mul_(weights.pow(1 / 3)).to(dtype=dtype, device=device)
    identity = torch.tensor([[1.0], [0.0], [0.0], [0.0]], dtype=double, device=cpu)
    chosen = components(twojmax, diagonalstyle)
    triples = [sorted(component) for component in chosen]
    scales = [(component[2] + 1) * is_coupled(component) for component in chosen]
    scale = torch.tensor(scales, dtype=double, device=cpu)
    picks = [pair_row(b, a) * (twojmax + 1) + c for a, b, c in triples]
    return Plan(
        twojmax=twojmax,
        recurrences=recurrences(twojmax, dtype, device),
        expansion=(polynomials * (twojmax + 1) ** 2 + solids).to(device),
        own=harmonics(identity).squeeze(1).to(dtype=dtype, device=device),
        harmonics=tuple(on_grid[first_harmonic(n) : first_harmonic(n + 1)] for n in range(twojmax + 1)),
        picks=torch.tensor(picks, dtype=torch.int64, device=device),
        scale=scale.to(dtype=dtype, device=device),
        products=(_products(triples, twojmax) * scale.unsqueeze(1)).to(dtype=dtype, device=device),
    )


def rotation_grid(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points and weights that integrate over all rotations.

    The integrals of even polynomials in q = (w, x, y, z) are exact up to twice the degree. The first and third Euler
    angles are equidistant, the cosines of the second are the nodes of Gauss and Legendre. The weights sum to 1.

    Returns:
        Unit quaternions, shape [4, g], and weights, shape [g], both float64.
    Source:
        P. J. Kostelec and D. N. Rockmore, J. Fourier Anal. Appl. 14 (2008) 145, on sampling of band-limited functions.
    """
    cosines, gauss = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angles = 2 * pi * np.arange(degree + 1) / (degree + 1)
    first, cosine, third = (axis.ravel() for axis in np.meshgrid(angles, cosines, angles, indexing="ij"))
    inner, outer = np.sqrt((1 + cosine) / 2), np.sqrt((1 - cosine) / 2)
    plus, minus = (first + third) / 2, (first - third) / 2
    points = np.stack([inner * np.cos(plus), outer * np.sin(minus), outer * np.cos(minus), inner * np.sin(plus)])
    weights = np.broadcast_to(gauss[None, :, None] / (2 * (degree + 1) ** 2), (degree + 1, len(gauss), degree + 1))
    return torch.from_numpy(points), torch.from_numpy(weights.ravel().copy())


def _products(triples: list[list[int]], twojmax: int) -> torch.Tensor:
    """Return the derivative of f_a f_b f_c as a matrix, shape [width, (twojmax + 1) n_pairs], float64."""
    n_pairs = pair_row(twojmax + 1, 0)
    matrix = torch.zeros((len(triples), twojmax + 1, n_pairs), dtype=torch.float64, device="cpu")
    for component, (a, b, c) in enumerate(triples):
        for one, smaller, larger in ((a, b, c), (b, a, c), (c, a, b)):
            matrix[component, one, pair_row(larger, smaller)] += 1.0
    return matrix.flatten(1)
