# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operators of torch_scatter in pure torch, on any device, differentiable by torch itself.

Three families: `scatter_*` (any index), `*_coo` (sorted index) and `*_csr` (segment boundaries).
Argument names are those of the packages' documentation; the schemas number them, as the originals.

`out`: the scatter and coo reductions add to, multiply or compare with what it holds; the csr
reductions and the gathers overwrite it. It is written in place and returned.

Empty segments are 0 (scatter_mul: 1) and their position, in min and max, is the length of `src`.
Among equal values min and max choose the first, and its element alone gets the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _from_front(dim: int, src: Tensor) -> int:
    """Return a dimension of `src` counted from the front."""
    return dim + src.dim() if dim < 0 else dim


def _broadcast(index: Tensor, src: Tensor, dim: int) -> Tensor:
    """Expand `index` to the shape of `src`: one of one dimension lies along `dim`."""
    if index.dim() == 1:
        index = index.view([1] * dim + [-1])
    return index.view(list(index.shape) + [1] * (src.dim() - index.dim())).expand(src.shape)


def _shape(src: Tensor, index: Tensor, dim: int, dim_size: int | None) -> list[int]:
    """Return the shape of a reduction: that of `src` with another length along `dim`."""
    if dim_size is None:
        dim_size = int(index.max()) + 1 if src.numel() else 0
    shape = list(src.shape)
    shape[dim] = dim_size
    return shape


def _check_out(out: Tensor, shape: list[int], dim: int | None = None) -> None:
    """Raise ValueError unless `out` has a shape, in all dimensions or all but `dim`."""
    wrong = out.dim() != len(shape) or any(
        have != want for axis, (have, want) in enumerate(zip(out.shape, shape, strict=True)) if axis != dim
    )
    if wrong:
        but = "" if dim is None else f" in all dimensions but {dim}"
        raise ValueError(f"`out` must have shape {shape}{but}, got {list(out.shape)}")


def _overwrite(out: Tensor | None, result: Tensor) -> Tensor:
    """Return the result, in `out` if there is one."""
    if out is None:
        return result
    _check_out(out, list(result.shape))
    return out.copy_(result)


def scatter_sum(src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Return the sums of the elements of `src` that have equal `index` along `dim`.

    Args:
        src: Values, any shape.
        index: Destination of each element along `dim`, int64: shape of `src`, or its leading
            dimensions, or one dimension, which then is `dim`.
        dim: Dimension to reduce, may be negative.
        out: Start values, written in place; or None for zeros.
        dim_size: Length of the result along `dim` if `out` is None; None: largest index + 1.
    Returns:
        The sums: shape of `src`, another length along `dim`.
    """
    dim = _from_front(dim, src)
    if out is None:
        out = src.new_zeros(_shape(src, index, dim, dim_size))
    else:
        _check_out(out, list(src.shape), dim)
    return out.scatter_add_(dim, _broadcast(index, src, dim), src)


def scatter_mul(src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Return the products of elements with equal index; arguments as for scatter_sum.

    A `src` without elements gives zeros, as torch_scatter does.
    """
    dim = _from_front(dim, src)
    if out is None:
        shape = _shape(src, index, dim, dim_size)
        out = src.new_ones(shape) if src.numel() else src.new_zeros(shape)
    else:
        _check_out(out, list(src.shape), dim)
    return out.scatter_reduce_(dim, _broadcast(index, src, dim), src, "prod")


def _mean(
    src: Tensor,
    index: Tensor,
    dim: int,
    out: Tensor | None,
    dim_size: int | None,
    integer_rounding: str,
) -> Tensor:
    """Return sums divided by the number of elements, start values not counted."""
    dim = _from_front(dim, src)
    total = scatter_sum(src, index, dim, out, dim_size)
    if index.shape == (src.size(dim),):
        count = scatter_sum(torch.ones_like(index), index, 0, None, total.size(dim))
        count = _broadcast(count, total, dim)
    else:
        count = scatter_sum(torch.ones_like(src), index, dim, None, total.size(dim))
    rounding = None if total.is_floating_point() else integer_rounding
    return total.div_(count.clamp(min=1).to(total.dtype), rounding_mode=rounding)


def scatter_mean(src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Return the means of elements with equal index, as scatter_sum; integers round down."""
    return _mean(src, index, dim, out, dim_size, "floor")


def _first_extreme(src: Tensor, index: Tensor, dim: int, extreme: Tensor) -> Tensor:
    """Return the first positions in `src` of the extreme values, or its length where there is none.

    A NaN in `src` is taken for the extreme, because the minimum and maximum with it are NaN.
    """
    length = src.size(dim)
    position = torch.arange(length, dtype=torch.int64, device=src.device)
    position = _broadcast(position, src, dim)
    attained = (src == extreme.gather(dim, index)) | src.isnan()
    position = torch.where(attained, position, length)
    none = torch.full_like(extreme, length, dtype=torch.int64)
    return none.scatter_reduce(dim, index, position, "amin")


def _extreme(
    src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None, reduce: str
) -> tuple[Tensor, Tensor]:
    """Return the smallest ("amin") or largest ("amax") elements and their positions along `dim`."""
    dim = _from_front(dim, src)
    if out is None:
        start = src.new_zeros(_shape(src, index, dim, dim_size))
    else:
        _check_out(out, list(src.shape), dim)
        start = out
    index = _broadcast(index, src, dim)
    with torch.no_grad():
        found = start.scatter_reduce(dim, index, src, reduce, include_self=out is not None)
        position = _first_extreme(src, index, dim, found)
        if out is not None:
            position.masked_fill_(found == out, src.size(dim))
    if src.numel() == 0:
        return start, position
    absent = position == src.size(dim)
    value = src.gather(dim, position.clamp(max=src.size(dim) - 1))
    if out is None:
        return value.masked_fill(absent, 0), position
    return out.copy_(torch.where(absent, out, value)), position


def scatter_min(
    src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> tuple[Tensor, Tensor]:
    """Return the smallest elements and their positions; arguments as for scatter_sum.

    The position is the length of `src` where there is no element or none is below that of `out`.
    """
    return _extreme(src, index, dim, out, dim_size, "amin")


def scatter_max(
    src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> tuple[Tensor, Tensor]:
    """Return the largest elements and their positions; otherwise as scatter_min."""
    return _extreme(src, index, dim, out, dim_size, "amax")


def segment_sum_coo(src: Tensor, index: Tensor, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Return scatter_sum along the last dimension of `index`, which is sorted."""
    return scatter_sum(src, index, index.dim() - 1, out, dim_size)


def segment_mean_coo(src: Tensor, index: Tensor, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Return means along the last dimension of `index`; integers round towards zero."""
    return _mean(src, index, index.dim() - 1, out, dim_size, "trunc")


def segment_min_coo(src: Tensor, index: Tensor, out: Tensor | None, dim_size: int | None) -> tuple[Tensor, Tensor]:
    """Return scatter_min along the last dimension of `index`."""
    return scatter_min(src, index, index.dim() - 1, out, dim_size)


def segment_max_coo(src: Tensor, index: Tensor, out: Tensor | None, dim_size: int | None) -> tuple[Tensor, Tensor]:
    """Return scatter_max along the last dimension of `index`."""
    return scatter_max(src, index, index.dim() - 1, out, dim_size)


def _gather(src: Tensor, index: Tensor, dim: int) -> Tensor:
    """Return the elements of `src` at `index`, which has its leading dimensions up to `dim`."""
    trailing = src.shape[dim + 1 :]
    index = index.view(list(index.shape) + [1] * len(trailing))
    return src.gather(dim, index.expand(*src.shape[:dim], index.size(dim), *trailing))


def gather_coo(src: Tensor, index: Tensor, out: Tensor | None) -> Tensor:
    """Return the elements of `src` at `index` along the last dimension of `index`.

    Args:
        src: Values, at least as many dimensions as `index`.
        index: Positions, int64, leading dimensions those of `src`.
        out: Tensor for the result, or None.
    Returns:
        The elements: shape of `src` with the length of `index` along that dimension.
    """
    return _overwrite(out, _gather(src, index, index.dim() - 1))


def segment_numbers(indptr: Tensor, length: int) -> Tensor:
    """Return, for each position, how many boundaries in `indptr` are at or before it.

    That is its segment counted from 1; 0 lies before the first one, indptr.size(-1) after the last.

    Args:
        indptr: Ascending boundaries, shape [..., segments + 1], int64.
        length: Number of positions.
    Returns:
        Numbers, shape [..., length], int64.
    """
    position = torch.arange(length, device=indptr.device, dtype=indptr.dtype)
    position = position.expand(*indptr.shape[:-1], length).contiguous()
    return torch.searchsorted(indptr.contiguous(), position, right=True)


def _csr_index(src: Tensor, indptr: Tensor) -> tuple[Tensor, int, int]:
    """Return segment numbers, counted from 1, of `src`; its dimension; the number of segments."""
    dim = indptr.dim() - 1
    indptr = indptr.expand(*src.shape[:dim], indptr.size(dim))
    return segment_numbers(indptr, src.size(dim)), dim, max(indptr.size(dim) - 1, 0)


def _reduce_csr(reduce: Callable[..., Tensor], src: Tensor, indptr: Tensor, out: Tensor | None) -> Tensor:
    """Reduce segments by a coo reduction, which also gets what lies before and after them."""
    index, dim, segments = _csr_index(src, indptr)
    result = reduce(src, index, None, segments + 2).narrow(dim, 1, segments)
    return _overwrite(out, result.contiguous())


def _extreme_csr(
    reduce: Callable[..., tuple[Tensor, Tensor]], src: Tensor, indptr: Tensor, out: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Reduce segments as _reduce_csr does, with positions."""
    index, dim, segments = _csr_index(src, indptr)
    value, position = reduce(src, index, None, segments + 2)
    value = value.narrow(dim, 1, segments).contiguous()
    return _overwrite(out, value), position.narrow(dim, 1, segments).contiguous()


def segment_sum_csr(src: Tensor, indptr: Tensor, out: Tensor | None) -> Tensor:
    """Return the sums of segments of `src` along the last dimension of `indptr`.

    Args:
        src: Values, at least as many dimensions as `indptr`.
        indptr: Segment s is indptr[..., s] to indptr[..., s + 1], ascending, int64; leading
            dimensions those of `src`, or 1.
        out: Tensor for the result, overwritten; or None.
    Returns:
        The sums: shape of `src` with the number of segments along that dimension.
    """
    return _reduce_csr(segment_sum_coo, src, indptr, out)


def segment_mean_csr(src: Tensor, indptr: Tensor, out: Tensor | None) -> Tensor:
    """Return the means of segments, as segment_sum_csr; integers round towards zero."""
    return _reduce_csr(segment_mean_coo, src, indptr, out)


def segment_min_csr(src: Tensor, indptr: Tensor, out: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the smallest elements of segments and their positions in `src`."""
    return _extreme_csr(segment_min_coo, src, indptr, out)


def segment_max_csr(src: Tensor, indptr: Tensor, out: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the largest elements of segments and their positions in `src`."""
    return _extreme_csr(segment_max_coo, src, indptr, out)


def gather_csr(src: Tensor, indptr: Tensor, out: Tensor | None) -> Tensor:
    """Return each element of `src` repeated over its segment: the reverse of segment_sum_csr.

    Args:
        src: Values, one per segment along the last dimension of `indptr`.
        indptr: Segment boundaries, as for segment_sum_csr.
        out: Tensor for the result, unchanged outside the segments; or None for zeros there.
    Returns:
        The repeated elements; the length along that dimension is the last boundary.
    """
    dim = indptr.dim() - 1
    segments = max(indptr.size(dim) - 1, 0)
    if src.size(dim) != segments:
        raise ValueError(
            f"`src` must have one element per segment ({segments}) in dimension {dim}, got {src.size(dim)}"
        )
    indptr = indptr.expand(*src.shape[:dim], indptr.size(dim))
    if segments == 0:
        return src.new_zeros(src.shape) if out is None else out
    if out is not None:
        length = out.size(dim)
    else:
        length = int(indptr[..., -1].max()) if indptr.numel() else 0
    number = segment_numbers(indptr, length)
    result = _gather(src, (number - 1).clamp(0, segments - 1), dim)
    outside = (number == 0) | (number > segments)
    outside = outside.view(list(outside.shape) + [1] * (src.dim() - dim - 1))
    if out is None:
        return result.masked_fill(outside, 0)
    return _overwrite(out, torch.where(outside, out, result))


def cuda_version() -> int:
    """Return -1: there is no compiled CUDA code."""
    return -1


_SCATTER = "(Tensor _0, Tensor _1, int _2, Tensor? _3, int? _4) -> "
_COO = "(Tensor _0, Tensor _1, Tensor? _2, int? _3) -> "
_CSR = "(Tensor _0, Tensor _1, Tensor? _2) -> "
_ONE = "Tensor _0"
_TWO = "(Tensor _0, Tensor _1)"

OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "scatter_sum": (_SCATTER + _ONE, scatter_sum),
    "scatter_mul": (_SCATTER + _ONE, scatter_mul),
    "scatter_mean": (_SCATTER + _ONE, scatter_mean),
    "scatter_min": (_SCATTER + _TWO, scatter_min),
    "scatter_max": (_SCATTER + _TWO, scatter_max),
    "segment_sum_coo": (_COO + _ONE, segment_sum_coo),
    "segment_mean_coo": (_COO + _ONE, segment_mean_coo),
    "segment_min_coo": (_COO + _TWO, segment_min_coo),
    "segment_max_coo": (_COO + _TWO, segment_max_coo),
    "gather_coo": (_CSR + _ONE, gather_coo),
    "segment_sum_csr": (_CSR + _ONE, segment_sum_csr),
    "segment_mean_csr": (_CSR + _ONE, segment_mean_csr),
    "segment_min_csr": (_CSR + _TWO, segment_min_csr),
    "segment_max_csr": (_CSR + _TWO, segment_max_csr),
    "gather_csr": (_CSR + _ONE, gather_csr),
    "cuda_version": ("() -> int _0", cuda_version),
}
