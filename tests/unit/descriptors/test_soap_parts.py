# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of SOAP, each compared with something independent: scipy, exact arithmetic or quadrature."""

from fractions import Fraction

import numpy as np
import pytest
import slow_soap
import torch
from scipy.special import ive

from kim_torchml.descriptors.soap.basis import eigen_inverse, overlap, radial_basis
from kim_torchml.descriptors.soap.radial import differentiate, radial_integrals, scaled_bessel, tabulate
from kim_torchml.descriptors.soap.spherical_harmonics import SphericalHarmonics
from kim_torchml.errors import DriverError


def unit_vectors(n=40):
    """Random directions, and both directions of each axis, shape [3, n + 6]."""
    vectors = np.random.default_rng(5).normal(size=(n, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return torch.tensor(np.vstack([vectors, np.eye(3), -np.eye(3)]).T)


@pytest.mark.parametrize(("n_max", "tolerance"), [(1, 1e-14), (2, 1e-13), (3, 1e-11), (4, 1e-8)])
def test_radial_basis_is_orthonormal(n_max, tolerance):
    nodes, weights = np.polynomial.legendre.leggauss(60)
    r = 2.3 * (nodes + 1.0)
    basis = radial_basis(n_max, 4.6, r)
    products = np.einsum("kn,km,k,k->nm", basis, basis, weights * 2.3, r**2)
    np.testing.assert_allclose(products, np.eye(n_max), rtol=0, atol=tolerance)


def test_radial_basis_against_scipy():
    r = np.linspace(0.0, 3.4, 7)
    expected = np.array([slow_soap.basis_functions(3, 3.4)(x) for x in r])
    np.testing.assert_allclose(radial_basis(3, 3.4, r), expected, rtol=0, atol=1e-11 * abs(expected).max())


@pytest.mark.parametrize("size", [1, 3, 4, 5, 9, 13])
def test_inverse(size):
    """The inverse is compared with exact fractions; the sizes need one panel or several."""
    matrix = np.random.default_rng(2).normal(size=(size, size))
    inverse = eigen_inverse(matrix.tolist())
    columns = zip(*[[Fraction(x) for x in row] for row in inverse], strict=True)
    product = [[sum(Fraction(x) * y for x, y in zip(row, column, strict=True)) for row in matrix] for column in columns]
    np.testing.assert_allclose(np.array(product, dtype=float).T, np.eye(size), rtol=0, atol=1e-12)


def test_inverse_is_rounded_as_in_libdescriptor():
    """Eigen 3.4.0, compiled by g++ 12 without fused multiply-adds, gave these for n_max = 5 and a cutoff of 4.6 Å."""
    overlaps = [[overlap(n, m, 4.6) for m in range(1, 6)] for n in range(1, 6)]
    inverse = eigen_inverse(overlaps)
    expected = "0x1.1b98a0f84cfb9p-4 -0x1.c9fb405f9b33p-4 0x1.05591dc736edep-4 "
    expected += "-0x1.f9053fb9c844cp-7 0x1.5f5190813415fp-10"
    assert inverse[4] == [float.fromhex(x) for x in expected.split()]


def test_too_many_radial_functions():
    with pytest.raises(DriverError, match=r"`n_max` must be small enough .* got 8 with a cutoff of 6.0 Å"):
        radial_basis(8, 6.0, np.linspace(0.0, 6.0, 3))


def test_bessel_functions():
    x = np.concatenate([[1e-300, 1e-12, 1e-5], np.linspace(0.01, 700.0, 300)])
    found = scaled_bessel(16, x)
    for order, values in enumerate(found):
        with np.errstate(under="ignore"):
            expected = np.sqrt(np.pi / (2.0 * x)) * ive(order + 0.5, x)
        np.testing.assert_allclose(values, expected, rtol=2e-13, atol=1e-300)
    assert scaled_bessel(3, np.zeros(1))[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_radial_integrals():
    """For these parameters 100 quadrature points are enough, so that the sum of the definition is the integral."""
    distances = np.array([0.3, 1.7, 2.9, 3.35])
    found = radial_integrals(3, 4, 3.4, 1.0, distances).reshape(4, 5, 3)
    basis = slow_soap.basis_functions(3, 3.4)
    for row, distance in zip(found, distances, strict=True):
        expected = [
            [slow_soap.radial_integral(basis, n, degree, 3.4, 1.0, distance) for n in range(3)] for degree in range(5)
        ]
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12 * np.abs(found).max())


@pytest.mark.parametrize(
    ("n_max", "l_max", "cutoff", "eta", "reach"),
    [
        (3, 3, 4.6, 1.0, 4.6),
        (4, 4, 5.0, 1.0, 5.0),
        (4, 2, 3.4, 0.5, 3.4),
        (6, 8, 7.0, 2.0, 7.0),
        (2, 2, 6.0, 0.05, 6.0),
        (3, 3, 5.0, 399.0, 5.0),
        (4, 4, 4.0, 0.5, 3.77118),
        (3, 3, 3.4, 1.0, 5.0),
    ],
)
def test_table(n_max, l_max, cutoff, eta, reach):
    """Values are compared with quadrature, slopes with its differences, at distances that the table was not made of."""
    series = tabulate(n_max, l_max, cutoff, eta, reach)
    distances = np.random.default_rng(0).uniform(0.01, reach - 0.01, 500)
    expected = radial_integrals(n_max, l_max, cutoff, eta, distances)
    found = np.polynomial.chebyshev.chebval(2.0 * distances / reach - 1.0, series.T).T
    assert (np.abs(found - expected).max(axis=0) < 1e-14 * np.abs(expected).max(axis=0)).all()
    step = 1e-3 / np.sqrt(max(eta, 1.0))
    around = [radial_integrals(n_max, l_max, cutoff, eta, distances + k * step) for k in (-2, -1, 1, 2)]
    differences = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step)
    slopes = np.polynomial.chebyshev.chebval(2.0 * distances / reach - 1.0, differentiate(series, reach).T).T
    assert (np.abs(slopes - differences).max(axis=0) < 1e-8 * np.abs(differences).max(axis=0)).all()


@pytest.mark.parametrize("l_max", [0, 1, 2, 5, 12])
def test_harmonics(l_max):
    vectors = unit_vectors()
    harmonics = SphericalHarmonics(l_max, torch.float64, torch.device("cpu"))
    found = harmonics.values(harmonics.polynomials(vectors)).numpy()
    assert found.shape == ((l_max + 1) ** 2, 46)
    for column, vector in zip(found.T, vectors.T.numpy(), strict=True):
        complex_ones = slow_soap.harmonics(l_max, vector)
        for degree in range(l_max + 1):
            # The sign of Condon and Shortley is left out, and the two parts of m > 0 are normalised each by itself.
            signs = np.where(np.arange(degree + 1) > 0, np.sqrt(2.0) * (-1.0) ** np.arange(degree + 1), 1.0)
            expected = signs * complex_ones[degree, : degree + 1]
            expected = np.concatenate([expected.real, expected.imag[1:]])
            np.testing.assert_allclose(column[degree**2 : (degree + 1) ** 2], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("l_max", [0, 1, 2, 5])
def test_gradient_of_harmonics(l_max):
    """The gradient is compared with that of autograd through the recursion."""
    vectors = unit_vectors().requires_grad_()
    harmonics = SphericalHarmonics(l_max, torch.float64, torch.device("cpu"))
    polynomials = harmonics.polynomials(vectors)
    values = harmonics.values(polynomials)
    weights = torch.tensor(np.random.default_rng(1).normal(size=values.shape))
    (expected,) = torch.autograd.grad((values + vectors[:1] * 0.0), vectors, weights)
    with torch.no_grad():
        found = harmonics.gradient(polynomials, weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
