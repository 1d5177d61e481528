# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operators against those of the real packages, where they are installed (extra pyg)."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import product

import pytest
import torch
from operator_cases import (
    REDUCTIONS,
    SCATTER_CASES,
    SEGMENT_CASES,
    SEGMENT_REDUCTIONS,
    assert_same,
    boundaries,
    indices,
    values,
)

from kim_torchml.engines.torchscript.operators import scatter, sparse


def real(package):
    """Return the operators of an installed package; skip the test where there is none.

    Importing it would be no way to ask: another test of this process may have had its operators replaced.
    """
    try:
        version(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed (pip install kim-torchml[pyg])")
    import_module(package)
    return getattr(torch.ops, package)


@pytest.fixture(params=["torch_scatter", "torch_sparse"])
def package(request):
    real(request.param)
    return request.param


@pytest.fixture
def real_scatter():
    return real("torch_scatter")


@pytest.fixture
def real_sparse():
    return real("torch_sparse")


def test_schemas_are_the_real_ones(package):
    operators = {"torch_scatter": scatter.OPERATORS, "torch_sparse": sparse.OPERATORS}[package]
    for name, (signature, _) in operators.items():
        schemas = torch._C._jit_get_schemas_for_operator(f"{package}::{name}")
        assert [str(schema) for schema in schemas] == [f"{package}::{name}{signature}"]


def test_no_operator_of_torch_scatter_is_left_out(real_scatter):
    names = {schema.name for schema in torch._C._jit_get_all_schemas()}
    names = {name for name in names if name.startswith("torch_scatter::")}
    assert names == {f"torch_scatter::{name}" for name in scatter.OPERATORS}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(("shape", "index_shape", "dim"), SCATTER_CASES)
def test_scatter_equals_the_real_one(reduce, shape, index_shape, dim, dtype, real_scatter):
    src = values(shape, "cpu", dtype).requires_grad_(dtype == torch.float64)
    index = indices(index_shape, "cpu")
    ours, theirs = (getattr(m, f"scatter_{reduce}") for m in (scatter, real_scatter))
    for dim_size in (None, 6):
        expected = theirs(src, index, dim, None, dim_size)
        if dtype == torch.float32:
            torch.testing.assert_close(ours(src, index, dim, None, dim_size), expected)
        else:
            assert_same(ours(src, index, dim, None, dim_size), expected, src)
    out_shape = list(shape)
    out_shape[dim] = 6
    src, start = src.detach(), values(out_shape, "cpu", dtype, seed=3)
    outs = start.clone(), start.clone()
    torch.testing.assert_close(ours(src, index, dim, outs[0], None), theirs(src, index, dim, outs[1], None))
    torch.testing.assert_close(*outs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64])
@pytest.mark.parametrize("reduce", SEGMENT_REDUCTIONS)
@pytest.mark.parametrize(("shape", "leading"), SEGMENT_CASES)
def test_segments_equal_the_real_ones(reduce, shape, leading, dtype, real_scatter):
    src = values(shape, "cpu", dtype).requires_grad_(dtype == torch.float64)
    # The packages leave gradients outside the segments unset, so the segments begin at 0 here. They fail for an index
    # whose leading dimensions are 1, so the index has those of src.
    indptr = boundaries(leading, "cpu", first=0)
    index = indices([*shape[: len(leading)], 7], "cpu").sort().values
    for name, arguments in (
        (f"segment_{reduce}_coo", (index, None, None)),
        (f"segment_{reduce}_coo", (index, None, 6)),
        (f"segment_{reduce}_csr", (indptr, None)),
    ):
        got = getattr(scatter, name)(src, *arguments)
        expected = getattr(real_scatter, name)(src, *arguments)
        if dtype == torch.float32:
            torch.testing.assert_close(got, expected)
        else:
            assert_same(got, expected, src)
    name, src = f"segment_{reduce}_csr", src.detach()
    outs = [torch.full_like(src.narrow(len(leading), 0, 4), 9).contiguous() for _ in range(2)]
    torch.testing.assert_close(
        getattr(scatter, name)(src, indptr, outs[0]),
        getattr(real_scatter, name)(src, indptr, outs[1]),
    )
    torch.testing.assert_close(*outs)


@pytest.mark.parametrize("reduce", SEGMENT_REDUCTIONS)
def test_sorted_segments_start_from_out_as_the_real_ones(reduce, real_scatter):
    src, index = values([7, 3], "cpu"), torch.tensor([0, 0, 1, 1, 3, 3, 3])
    outs = [values([5, 3], "cpu", seed=3) for _ in range(2)]
    name = f"segment_{reduce}_coo"
    getattr(scatter, name)(src, index, outs[0], None)
    getattr(real_scatter, name)(src, index, outs[1], None)
    torch.testing.assert_close(*outs)


@pytest.mark.parametrize(("shape", "leading"), SEGMENT_CASES)
def test_gathers_equal_the_real_ones(shape, leading, real_scatter):
    dim = len(leading)
    shape = [4 if axis == dim else size for axis, size in enumerate(shape)]
    src = values(shape, "cpu").requires_grad_()
    index = indices([*shape[:dim], 7], "cpu", largest=3).sort().values
    indptr = boundaries(leading, "cpu", first=0)
    for name, positions in (("gather_coo", index), ("gather_csr", indptr)):
        ours, theirs = getattr(scatter, name), getattr(real_scatter, name)
        assert_same(ours(src, positions, None), theirs(src, positions, None), src)
        outs = [torch.zeros([*shape[:dim], 7, *shape[dim + 1 :]]).double() for _ in range(2)]
        ours(src.detach(), positions, outs[0])
        theirs(src.detach(), positions, outs[1])
        torch.testing.assert_close(*outs)


def test_nothing_to_reduce_gives_what_the_real_ones_give(real_scatter):
    src, index = torch.zeros([0, 3]), torch.zeros([0], dtype=torch.int64)
    for reduce, dim_size in product(REDUCTIONS, (None, 2)):
        name = f"scatter_{reduce}"
        got = getattr(scatter, name)(src, index, 0, None, dim_size)
        torch.testing.assert_close(got, getattr(real_scatter, name)(src, index, 0, None, dim_size))
    for reduce, indptr in product(SEGMENT_REDUCTIONS, (index, index.new_zeros(3))):
        name = f"segment_{reduce}_csr"
        got = getattr(scatter, name)(src, indptr, None)
        torch.testing.assert_close(got, getattr(real_scatter, name)(src, indptr, None))


@pytest.mark.parametrize("with_value", [True, False])
@pytest.mark.parametrize("leading", [[], [2]])
def test_sparse_products_equal_the_real_ones(with_value, leading, real_sparse):
    rowptr, row = boundaries([], "cpu", first=0), torch.tensor([0, 0, 0, 2, 2, 2, 3])
    col, colptr = torch.tensor([0, 2, 4, 1, 2, 3, 0]), torch.tensor([0, 2, 3, 5, 6, 7])
    order, count = col.argsort(stable=True), torch.tensor([3, 0, 3, 1])
    value = values([7], "cpu", seed=2).add(0.013).requires_grad_() if with_value else None
    mat = values([*leading, 5, 3], "cpu").requires_grad_()
    inputs = [mat, value] if with_value else [mat]
    for name, arguments in (
        ("spmm_sum", (row, rowptr, col, value, colptr, order, mat)),
        ("spmm_mean", (row, rowptr, col, value, count, colptr, order, mat)),
    ):
        expected = getattr(real_sparse, name)(*arguments)
        assert_same(getattr(sparse, name)(*arguments), expected, *inputs)
    for name in ("spmm_min", "spmm_max"):
        expected = getattr(real_sparse, name)(rowptr, col, value, mat)
        assert_same(getattr(sparse, name)(rowptr, col, value, mat), expected, *inputs)


def test_conversions_equal_the_real_ones(real_sparse):
    for rows in ([], [0], [3, 3], [0, 0, 2, 4, 4, 4]):
        ind = torch.tensor(rows, dtype=torch.int64)
        ptr = sparse.ind2ptr(ind, 5)
        assert torch.equal(ptr, real_sparse.ind2ptr(ind, 5))
        assert torch.equal(sparse.ptr2ind(ptr, len(rows)), real_sparse.ptr2ind(ptr, len(rows)))
    row, col = torch.tensor([[0, 2], [0, 3], [1, 4], [2, 1], [3, 0], [4, 2]]).unbind(1)
    for sizes, k in (((5, 5), 0), ((5, 5), 1), ((6, 5), -1)):
        given = col - row != k
        arguments = (row[given], col[given], *sizes, k)
        assert torch.equal(sparse.non_diag_mask(*arguments), real_sparse.non_diag_mask(*arguments))
