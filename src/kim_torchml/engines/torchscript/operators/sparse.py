# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators of torch_sparse in pure torch: what models scripted with its SparseTensor name.

A sparse matrix [M, N] with E entries is `rowptr [M + 1]`, `col [E]`, `value [E]` or None (ones).
Sampling and partitioning of graphs, which no potential calls, are left to the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kim_torchml.engines.torchscript.operators import scatter
from kim_torchml.engines.torchscript.operators.scatter import cuda_version


def ind2ptr(ind: Tensor, size: int) -> Tensor:
    """Return the row boundaries of a sorted list of rows.

    Args:
        ind: Row of each entry, ascending, shape [E], int64.
        size: Number of rows, M.
    Returns:
        Boundaries, shape [M + 1], int64.
    """
    row = torch.arange(size + 1, device=ind.device, dtype=ind.dtype)
    return torch.searchsorted(ind.contiguous(), row)


def ptr2ind(ptr: Tensor, size: int) -> Tensor:
    """Return the row of each entry, from row boundaries.

    Args:
        ptr: Boundaries, ascending from 0 to E, shape [M + 1], int64.
        size: Number of entries, E.
    Returns:
        Rows, shape [E], int64.
    """
    return scatter.segment_numbers(ptr, size) - 1


def _products(col: Tensor, value: Tensor | None, mat: Tensor) -> Tensor:
    """Return each entry times the row of `mat` that it meets, shape [..., E, K]."""
    rows = mat.index_select(-2, col)
    return rows if value is None else rows * value.unsqueeze(-1)


def _rows(row: Tensor | None, rowptr: Tensor, col: Tensor) -> Tensor:
    """Return the row of each entry."""
    return ptr2ind(rowptr, col.numel()) if row is None else row


def spmm_sum(
    row: Tensor | None,
    rowptr: Tensor,
    col: Tensor,
    value: Tensor | None,
    colptr: Tensor | None,
    csr2csc: Tensor | None,
    mat: Tensor,
) -> Tensor:
    """Return the product of a sparse matrix and a dense one.

    Args:
        row: Row of each entry, shape [E], or None.
        rowptr: Row boundaries, shape [M + 1].
        col: Column of each entry, shape [E].
        value: Entries, shape [E], or None for ones.
        colptr: Column boundaries: not needed here.
        csr2csc: Order of the entries by column: not needed here.
        mat: Dense matrix, shape [..., N, K].
    Returns:
        The product, shape [..., M, K].
    """
    index = _rows(row, rowptr, col)
    return scatter.scatter_sum(_products(col, value, mat), index, -2, None, rowptr.numel() - 1)


def spmm_mean(
    row: Tensor | None,
    rowptr: Tensor,
    col: Tensor,
    value: Tensor | None,
    rowcount: Tensor | None,
    colptr: Tensor | None,
    csr2csc: Tensor | None,
    mat: Tensor,
) -> Tensor:
    """Return spmm_sum divided by the number of entries in each row; empty rows are 0."""
    total = spmm_sum(row, rowptr, col, value, colptr, csr2csc, mat)
    count = rowptr.diff().clamp(min=1).unsqueeze(-1)
    rounding = None if total.is_floating_point() else "trunc"
    return total.div(count.to(total.dtype), rounding_mode=rounding)


def spmm_min(rowptr: Tensor, col: Tensor, value: Tensor | None, mat: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest of the products that spmm_sum adds, and their entries.

    Args:
        rowptr: Row boundaries, shape [M + 1].
        col: Column of each entry, shape [E].
        value: Entries, shape [E], or None for ones.
        mat: Dense matrix, shape [..., N, K].
    Returns:
        The smallest products, 0 in empty rows, and their positions in `col`, E in empty rows; both
        of shape [..., M, K].
    """
    index = _rows(None, rowptr, col)
    return scatter.scatter_min(_products(col, value, mat), index, -2, None, rowptr.numel() - 1)


def spmm_max(rowptr: Tensor, col: Tensor, value: Tensor | None, mat: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of the products, and their entries, as spmm_min."""
    index = _rows(None, rowptr, col)
    return scatter.scatter_max(_products(col, value, mat), index, -2, None, rowptr.numel() - 1)


def non_diag_mask(row: Tensor, col: Tensor, n_rows: int, n_cols: int, k: int) -> Tensor:
    """Return where the entries of a matrix go when its k-th diagonal is inserted among them.

    Args:
        row: Row of each entry, ascending, shape [E]; none is on that diagonal.
        col: Column of each entry, shape [E], ascending within a row.
        n_rows: Number of rows.
        n_cols: Number of columns.
        k: Diagonal: 0 the main one, positive above it.
    Returns:
        Shape [E + length of the diagonal], bool: True for the given entries, False for the
        diagonal's.
    """
    n_diagonal = min(n_rows + k, n_cols) if k < 0 else min(n_rows, n_cols - k)
    entry = torch.arange(row.numel(), dtype=torch.int64, device=row.device)
    diagonals_before = (row + min(k, 0) + (col > row + k)).clamp(0, n_diagonal)
    mask = torch.zeros(row.numel() + n_diagonal, dtype=torch.bool, device=row.device)
    return mask.index_fill_(0, entry + diagonals_before, True)


_SPMM = "(Tensor? _0, Tensor _1, Tensor _2, Tensor? _3, Tensor? _4, Tensor? _5, "
_SPMM_EXTREME = "(Tensor _0, Tensor _1, Tensor? _2, Tensor _3) -> (Tensor _0, Tensor _1)"
_CONVERT = "(Tensor _0, int _1) -> Tensor _0"

OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "ind2ptr": (_CONVERT, ind2ptr),
    "ptr2ind": (_CONVERT, ptr2ind),
    "spmm_sum": (_SPMM + "Tensor _6) -> Tensor _0", spmm_sum),
    "spmm_mean": (_SPMM + "Tensor? _6, Tensor _7) -> Tensor _0", spmm_mean),
    "spmm_min": (_SPMM_EXTREME, spmm_min),
    "spmm_max": (_SPMM_EXTREME, spmm_max),
    "non_diag_mask": ("(Tensor _0, Tensor _1, int _2, int _3, int _4) -> Tensor _0", non_diag_mask),
    "cuda_version": ("() -> int _0", cuda_version),
}
