# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operators of torch_scatter and torch_sparse in pure torch: values and derivatives, against plain loops."""

from itertools import product

import pytest
import torch
from operator_cases import (
    REDUCTIONS,
    SCATTER_CASES,
    SEGMENT_CASES,
    SEGMENT_REDUCTIONS,
    as_result,
    assert_same,
    boundaries,
    by_boundaries,
    by_index,
    indices,
    slow_reduce,
    values,
)

from kim_torchml.engines.torchscript.operators import scatter, sparse


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(("shape", "index_shape", "dim"), SCATTER_CASES)
def test_scatter_equals_plain_loops(reduce, shape, index_shape, dim, device):
    src = values(shape, device).requires_grad_()
    index = indices(index_shape, device)
    function = getattr(scatter, f"scatter_{reduce}")
    target, front = by_index(index, dim % len(shape)), dim % len(shape)
    for dim_size in (None, 6):
        size = int(index.max()) + 1 if dim_size is None else dim_size
        expected = as_result(reduce, slow_reduce(reduce, src, target, front, size))
        assert_same(function(src, index, dim, None, dim_size), expected, src)


@pytest.mark.parametrize("reduce", SEGMENT_REDUCTIONS)
@pytest.mark.parametrize(("shape", "leading"), SEGMENT_CASES)
def test_segments_equal_plain_loops(reduce, shape, leading, device):
    src = values(shape, device).requires_grad_()
    dim = len(leading)
    index = indices([*leading, 7], device).sort().values
    expected = slow_reduce(reduce, src, by_index(index, dim), dim, 6)
    coo = getattr(scatter, f"segment_{reduce}_coo")
    assert_same(coo(src, index, None, 6), as_result(reduce, expected), src)

    indptr = boundaries(leading, device)
    expected = slow_reduce(reduce, src, by_boundaries(indptr), dim, 4)
    csr = getattr(scatter, f"segment_{reduce}_csr")
    assert_same(csr(src, indptr, None), as_result(reduce, expected), src)


@pytest.mark.parametrize(("shape", "leading"), SEGMENT_CASES)
def test_gathers_equal_plain_loops(shape, leading, device):
    dim = len(leading)
    shape = [4 if axis == dim else size for axis, size in enumerate(shape)]
    src = values(shape, device).requires_grad_()
    index = indices([*shape[:dim], 7], device, largest=3)
    indptr = boundaries(leading, device)
    segment = by_boundaries(indptr)
    coo, csr = [], []
    for at in product(*map(range, [*shape[:dim], 7, *shape[dim + 1 :]])):
        coo.append(src[(*at[:dim], int(index[at[: dim + 1]]), *at[dim + 1 :])])
        inside = segment(at) is not None
        csr.append(src[(*at[:dim], segment(at), *at[dim + 1 :])] if inside else src.new_zeros(()))
    result_shape = [*shape[:dim], 7, *shape[dim + 1 :]]
    assert_same(scatter.gather_coo(src, index, None), torch.stack(coo).reshape(result_shape), src)
    assert_same(scatter.gather_csr(src, indptr, None), torch.stack(csr).reshape(result_shape), src)


def dense_matrix(rowptr, col, value, columns):
    """Return the dense form of a sparse matrix, filled one entry at a time."""
    rows = [torch.zeros(columns, dtype=value.dtype, device=value.device) for _ in rowptr[1:]]
    for row in range(len(rows)):
        for entry in range(int(rowptr[row]), int(rowptr[row + 1])):
            unit = torch.nn.functional.one_hot(col[entry], columns)
            rows[row] = rows[row] + value[entry] * unit
    return torch.stack(rows)


@pytest.mark.parametrize("with_value", [True, False])
@pytest.mark.parametrize("leading", [[], [2]])
def test_sparse_products_equal_plain_loops(with_value, leading, device):
    rowptr = boundaries([], device, first=0)
    row = torch.tensor([0, 0, 0, 2, 2, 2, 3], device=device)
    col = torch.tensor([0, 2, 4, 1, 2, 3, 0], device=device)
    value = values([7], device, seed=2).add(0.013).requires_grad_() if with_value else None
    mat = values([*leading, 5, 3], device).requires_grad_()
    inputs = [mat, value] if with_value else [mat]
    ones = torch.ones(7, dtype=mat.dtype, device=device)
    dense = dense_matrix(rowptr, col, value if with_value else ones, 5)
    count = torch.tensor([3, 1, 3, 1], device=device).unsqueeze(-1)
    for known_row in (row, None):
        total = sparse.spmm_sum(known_row, rowptr, col, value, None, None, mat)
        mean = sparse.spmm_mean(known_row, rowptr, col, value, None, None, None, mat)
        assert_same(total, dense @ mat, *inputs)
        assert_same(mean, dense @ mat / count, *inputs)
    rows = torch.stack([mat[..., c, :] for c in col.tolist()], dim=-2)
    products = rows * value.unsqueeze(-1) if with_value else rows
    for reduce, function in (("min", sparse.spmm_min), ("max", sparse.spmm_max)):
        dim = len(leading)
        expected = slow_reduce(reduce, products, lambda at, dim=dim: int(row[at[dim]]), dim, 4)
        assert_same(function(rowptr, col, value, mat), expected, *inputs)


@pytest.mark.parametrize("rows", [[], [0], [3, 3], [0, 0, 2, 4, 4, 4], [1, 2, 3]])
def test_row_numbers_and_boundaries(rows, device):
    ind = torch.tensor(rows, dtype=torch.int64, device=device)
    ptr = sparse.ind2ptr(ind, 5)
    assert ptr.tolist() == [sum(row < boundary for row in rows) for boundary in range(6)]
    assert sparse.ptr2ind(ptr, len(rows)).tolist() == rows
    assert ptr.dtype == torch.int64


@pytest.mark.parametrize("k", [-5, -2, -1, 0, 1, 3])
@pytest.mark.parametrize(("n_rows", "n_cols"), [(4, 4), (6, 3), (3, 6)])
def test_mask_of_an_inserted_diagonal(k, n_rows, n_cols, device):
    if not -n_rows < k < n_cols:
        pytest.skip("no such diagonal in this matrix")
    cells = [at for at in product(range(n_rows), range(n_cols)) if sum(at) % 2 or at[1] == 2]
    given = [(r, c) for r, c in cells if c - r != k]
    diagonal = [(r, r + k) for r in range(n_rows) if 0 <= r + k < n_cols]
    expected = [cell in given for cell in sorted(given + diagonal)]
    row, col = torch.tensor(given, device=device).reshape(-1, 2).unbind(1)
    assert sparse.non_diag_mask(row, col, n_rows, n_cols, k).tolist() == expected


def differentiable_calls(device):
    """Return every differentiable operator as a function of its one or two real inputs."""
    index = indices([7], device).sort().values
    indptr = boundaries([], device, first=0)
    col = torch.tensor([0, 2, 4, 1, 2, 3, 0], device=device)
    long, short = values([7, 2], device), values([4, 2], device)
    calls = {}
    for reduce in REDUCTIONS:
        function = getattr(scatter, f"scatter_{reduce}")
        calls[f"scatter_{reduce}"] = (lambda x, f=function: f(x, index, 0, None, 6), long)
    for reduce in SEGMENT_REDUCTIONS:
        coo = getattr(scatter, f"segment_{reduce}_coo")
        csr = getattr(scatter, f"segment_{reduce}_csr")
        calls[f"segment_{reduce}_coo"] = (lambda x, f=coo: f(x, index, None, 6), long)
        calls[f"segment_{reduce}_csr"] = (lambda x, f=csr: f(x, indptr, None), long)
    calls["gather_coo"] = (lambda x: scatter.gather_coo(x, index.clamp(max=3), None), short)
    calls["gather_csr"] = (lambda x: scatter.gather_csr(x, indptr, None), short)
    entries, mat = values([7], device, seed=2).add(0.013), values([5, 2], device)
    calls["spmm_sum"] = (
        lambda v, x: sparse.spmm_sum(None, indptr, col, v, None, None, x),
        entries,
        mat,
    )
    calls["spmm_mean"] = (
        lambda v, x: sparse.spmm_mean(None, indptr, col, v, None, None, None, x),
        entries,
        mat,
    )
    calls["spmm_min"] = (lambda v, x: sparse.spmm_min(indptr, col, v, x), entries, mat)
    calls["spmm_max"] = (lambda v, x: sparse.spmm_max(indptr, col, v, x), entries, mat)
    return calls


@pytest.mark.parametrize("name", differentiable_calls(torch.device("cpu")))
def test_first_and_second_derivatives(name, device):
    function, *inputs = differentiable_calls(device)[name]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    # A GPU sums in any order, so that two calls may differ in their last digits.
    assert torch.autograd.gradcheck(function, inputs, nondet_tol=1e-12)
    assert torch.autograd.gradgradcheck(function, inputs, nondet_tol=1e-12)
