# SPDX-License-Identifier: LGPL-2.1-or-later
"""SOAP's radial basis functions, with libdescriptor's rounding.

The overlaps of the polynomials that the basis is made of are a nearly singular matrix (condition about
10^(2 n_max - 1)), and libdescriptor inverts it in double precision: from n_max = 4 on, its rounding shows in the result
(the relative error is about 10^-10 for n_max = 4, 10^-7 for 5, 10^-4 for 6, 10^-1 for 7). Models are fitted to what
libdescriptor computes, so the inverse is formed here by the same operations in the same order, without fused
multiply-adds: elimination with partial pivoting, then a blocked triangular solve, as in the Eigen library.
"""

import numpy as np
import numpy.typing as npt

from kim_torchml.errors import DriverError

Array = npt.NDArray[np.float64]

# Number of rows that Eigen's triangular solver works on at a time.
_PANEL = 4


def radial_basis(n_max: int, cutoff: float, distances: Array) -> Array:
    """Return the orthonormal polynomial radial basis functions.

    g_n(r) = sum_n' X_n'n (cutoff - r)^(n' + 2), n' = 1 ... n_max, where X = S^(-1/2) is the symmetric inverse square
    root of the overlaps S_nn' = 2 cutoff^(n + n' + 7) / ((n + n' + 5) (n + n' + 6) (n + n' + 7)), weight r².

    Args:
        n_max: Number of functions, at most 16.
        cutoff: End of the range of the functions, Å.
        distances: Distances, shape [k], Å.
    Returns:
        Values, shape [k, n_max], Å^(-3/2).
    Raises:
        DriverError: If rounding makes the inverse of the overlaps indefinite.
    Source:
        A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87 (2013) 184115, the polynomials; L. Himanen et al., Comput.
        Phys. Commun. 247 (2020) 106949, the overlaps with the weight r²; libdescriptor, the rounding.
    """
    orders = range(1, n_max + 1)
    overlaps = [[overlap(n, m, cutoff) for m in orders] for n in orders]
    # Rounding makes the inverse slightly unsymmetric, and libdescriptor's solver reads only its lower triangle.
    values, vectors = np.linalg.eigh(np.array(eigen_inverse(overlaps)), UPLO="L")
    if values[0] <= 0.0:
        raise DriverError(
            f"SOAP's `n_max` must be small enough for the overlaps of its radial functions to be inverted in double "
            f"precision, got {n_max} with a cutoff of {cutoff} Å, where libdescriptor gives NaN; refit with fewer"
        )
    powers = (cutoff - distances)[:, None] ** (np.arange(n_max) + 3)
    basis: Array = powers @ ((vectors * np.sqrt(values)) @ vectors.T)
    return basis


def overlap(n: int, m: int, cutoff: float) -> float:
    """Return the overlap of the polynomials n and m, counted from 1, with the weight r²."""
    total = n + m
    return 2.0 * cutoff ** (7 + total) / ((5 + total) * (6 + total) * (7 + total))


def eigen_inverse(matrix: list[list[float]]) -> list[list[float]]:
    """Return the inverse of a matrix of at most 16 rows, rounded as Eigen's is."""
    size = len(matrix)
    factors, order = _factorise(matrix)
    inverse = [[float(row == column) for column in range(size)] for row in order]
    rows = list(range(size))
    _solve(factors, inverse, rows, unit_diagonal=True)
    _solve(factors, inverse, rows[::-1], unit_diagonal=False)
    return inverse


def _factorise(matrix: list[list[float]]) -> tuple[list[list[float]], list[int]]:
    """Factorise a matrix whose rows are reordered by pivoting.

    Returns:
        The factors in one matrix, L below the diagonal and U on and above it (the diagonal of L is 1); the order of the
        rows.
    """
    size = len(matrix)
    factors = [list(row) for row in matrix]
    order = list(range(size))
    for k in range(size):
        pivot = max(range(k, size), key=lambda i: abs(factors[i][k]))
        factors[k], factors[pivot] = factors[pivot], factors[k]
        order[k], order[pivot] = order[pivot], order[k]
        for row in factors[k + 1 :]:
            row[k] /= factors[k][k]
            for j in range(k + 1, size):
                row[j] -= row[k] * factors[k][j]
    return factors, order


def _solve(factors: list[list[float]], columns: list[list[float]], rows: list[int], *, unit_diagonal: bool) -> None:
    """Solve a triangular system in place; `rows` is the order in which its unknowns can be found."""
    size = len(rows)
    for start in range(0, size, _PANEL):
        panel = rows[start : start + _PANEL]
        for done, i in enumerate(panel, start=1):
            if not unit_diagonal:
                reciprocal = 1.0 / factors[i][i]
                columns[i] = [x * reciprocal for x in columns[i]]
            for k in panel[done:]:
                columns[k] = [y - x * factors[k][i] for x, y in zip(columns[i], columns[k], strict=True)]
        for k in rows[start + _PANEL :]:
            for j in range(size):
                product = 0.0  # not sum(), which compensates rounding from Python 3.12 on
                for i in sorted(panel):
                    product += factors[k][i] * columns[i][j]
                columns[k][j] -= product
