# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operators with `out` given, with equal or infinite values, with no values at all, and with wrong shapes."""

import pytest
import torch
from operator_cases import (
    REDUCTIONS,
    SEGMENT_REDUCTIONS,
    assert_same,
    boundaries,
    by_index,
    indices,
    slow_reduce,
    values,
)

from kim_torchml.engines.torchscript.operators import scatter, sparse


@pytest.mark.parametrize("family", ["scatter", "coo"])
def test_reductions_start_from_out(family, device):
    src, start = values([7, 3], device), values([6, 3], device, seed=3)
    index = indices([7], device).sort().values
    target = by_index(index, 0)
    total, _ = slow_reduce("sum", src, target, 0, 6)
    expected = {
        "sum": start + total,
        "mul": start * slow_reduce("mul", src, target, 0, 6)[0],
        "mean": (start + total) / index.bincount(minlength=6).clamp(min=1).unsqueeze(-1),
    }
    for reduce, better in (("min", torch.lt), ("max", torch.gt)):
        value, position = slow_reduce(reduce, src, target, 0, 6)
        improved = better(value, start) & (position.to(device) < 7)
        position = torch.where(improved, position.to(device), 7)
        expected[reduce] = (torch.where(improved, value, start), position)
    for reduce in REDUCTIONS if family == "scatter" else SEGMENT_REDUCTIONS:
        # Every second column of a larger tensor is not contiguous.
        out = start.repeat_interleave(2, dim=1)[:, ::2]
        if family == "scatter":
            got = getattr(scatter, f"scatter_{reduce}")(src, index, 0, out, None)
        else:
            got = getattr(scatter, f"segment_{reduce}_coo")(src, index, out, None)
        assert_same(got, expected[reduce])
        assert (got[0] if isinstance(got, tuple) else got) is out


def test_segments_and_gathers_overwrite_out(device):
    src, indptr = values([7, 3], device), boundaries([], device)
    for reduce in SEGMENT_REDUCTIONS:
        function = getattr(scatter, f"segment_{reduce}_csr")
        out = values([4, 3], device, seed=3)
        got = function(src, indptr, out)
        assert_same(got, function(src, indptr, None))
        assert (got[0] if isinstance(got, tuple) else got) is out
    short, out, index = src[:4], values([7, 3], device, seed=3), indices([7], device, 3)
    assert scatter.gather_coo(short, index, out) is out
    assert_same(out, short[index])
    out, before = values([7, 3], device, seed=3), values([7, 3], device, seed=3)
    assert scatter.gather_csr(short, indptr, out) is out
    assert_same(out, torch.cat([before[:1], scatter.gather_csr(short, indptr, None)[1:]]))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradient_reaches_src_and_out(reduce, device):
    index, function = indices([7], device), getattr(scatter, f"scatter_{reduce}")

    def into_out(src, start):
        return function(src, index, 0, start.clone(), None)

    inputs = (values([7], device).requires_grad_(), values([6], device, seed=3).requires_grad_())
    assert torch.autograd.gradcheck(into_out, inputs, nondet_tol=1e-12)


def test_gradient_of_a_product_with_zeros(device):
    src = torch.tensor([2.0, 0.0, 5.0, 0.0, 0.0], dtype=torch.float64, device=device)
    src.requires_grad_()
    index = torch.tensor([0, 0, 0, 1, 1], device=device)
    scatter.scatter_mul(src, index, 0, None, None).sum().backward()
    assert src.grad.tolist() == [0.0, 10.0, 0.0, 0.0, 0.0]


def test_ties_choose_the_first_and_give_it_the_whole_gradient(device):
    src = torch.tensor([3.0, 1.0, 1.0, 3.0], device=device, requires_grad=True)
    index = torch.zeros(4, dtype=torch.int64, device=device)
    for function, chosen in ((scatter.scatter_min, 1), (scatter.scatter_max, 0)):
        value, position = function(src, index, 0, None, None)
        assert position.tolist() == [chosen]
        gradient = torch.autograd.grad(value.sum(), src)[0]
        assert gradient.tolist() == [float(i == chosen) for i in range(4)]


def test_extremes_keep_infinity_and_nan(device):
    src = torch.tensor([float("inf"), 1.0, float("nan"), 2.0], device=device)
    index = torch.tensor([0, 1, 1, 2], device=device)
    for function in (scatter.scatter_min, scatter.scatter_max):
        value, position = function(src, index, 0, None, None)
        assert position.tolist() == [0, 2, 3]
        assert str(value.tolist()) == "[inf, nan, 2.0]"


def test_nothing_to_reduce(device):
    src = torch.zeros([0, 3], dtype=torch.float32, device=device)
    index = torch.zeros([0], dtype=torch.int64, device=device)
    for reduce in REDUCTIONS:
        function = getattr(scatter, f"scatter_{reduce}")
        for dim_size, size in ((None, 0), (2, 2)):
            got = function(src, index, 0, None, dim_size)
            value = got[0] if isinstance(got, tuple) else got
            assert torch.equal(value, src.new_zeros([size, 3]))
            if isinstance(got, tuple):
                assert torch.equal(got[1], index.new_zeros([size, 3]))
    for reduce in SEGMENT_REDUCTIONS:
        function = getattr(scatter, f"segment_{reduce}_csr")
        for indptr, size in ((index, 0), (index.new_zeros(3), 2)):
            got = function(src, indptr, None)
            value = got[0] if isinstance(got, tuple) else got
            assert torch.equal(value, src.new_zeros([size, 3]))
    assert scatter.gather_csr(src, index.new_zeros(1), None).shape == (0, 3)
    assert scatter.gather_coo(values([4, 3], device), index, None).shape == (0, 3)
    mat = torch.zeros([4, 2], device=device)
    assert torch.equal(sparse.spmm_sum(None, index.new_zeros(4), index, None, None, None, mat), mat[:3])


def test_integer_means_round_as_torch_scatter_on_cpu(device):
    src, index = (
        torch.tensor([-3, 0, 3, 4], device=device),
        torch.tensor([0, 0, 1, 1], device=device),
    )
    indptr = torch.tensor([0, 2, 4], device=device)
    assert scatter.scatter_mean(src, index, 0, None, None).tolist() == [-2, 3]
    assert scatter.segment_mean_coo(src, index, None, None).tolist() == [-1, 3]
    assert scatter.segment_mean_csr(src, indptr, None).tolist() == [-1, 3]
    assert scatter.segment_mean_csr(src.float(), indptr, None).dtype == torch.float32


def test_wrong_shapes_are_errors():
    src, index, indptr = torch.ones(4, 3), torch.zeros(4, dtype=torch.int64), torch.tensor([0, 4])
    with pytest.raises(ValueError, match=r"`out` must have shape \[4, 3\] in all .* but 0, got \[2, 5\]"):
        scatter.scatter_sum(src, index, 0, torch.ones(2, 5), None)
    with pytest.raises(ValueError, match=r"`out` must have shape \[1, 3\], got \[2, 3\]"):
        scatter.segment_sum_csr(src, indptr, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"one element per segment \(1\) in dimension 0, got 4"):
        scatter.gather_csr(src, indptr, None)


def test_there_is_no_cuda_build():
    assert scatter.cuda_version() == -1
