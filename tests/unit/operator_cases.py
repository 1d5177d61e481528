# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the operators share: values, indices, and reductions by plain loops."""

from collections import defaultdict
from itertools import product

import torch

REDUCTIONS = ["sum", "mul", "mean", "min", "max"]
SEGMENT_REDUCTIONS = ["sum", "mean", "min", "max"]
# Each case: the shape of src, the shape of index (or of indptr without its last dimension), the dim of scatter.
SCATTER_CASES = [
    ([7], [7], 0),
    ([7, 3], [7], -2),
    ([2, 7, 3], [7], 1),
    ([2, 7], [7], -1),
    ([2, 7, 3], [2, 7], 1),
    ([3, 7, 2], [3, 7, 2], 1),
    ([2, 7, 3], [1, 7], 1),
]
SEGMENT_CASES = [([7], []), ([7, 3], []), ([2, 7], [2]), ([2, 7, 3], [2]), ([2, 7, 3], [1])]


def values(shape, device, dtype=torch.float64, seed=0):
    """Return distinct values in random order, some negative, none 0."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.tensor(shape).prod())
    order = torch.randperm(count, generator=generator) - count // 3
    return ((order + 0.5) / (1 if dtype == torch.int64 else 7)).to(device, dtype).reshape(shape)


def indices(shape, device, largest=4, seed=1):
    """Return targets from 0 to `largest`, but never 2."""
    index = torch.randint(0, largest, shape, generator=torch.Generator().manual_seed(seed))
    return (index + (index >= 2)).to(device)


def boundaries(leading, device, first=1):
    """Return the boundaries of four segments of 7 elements; one is empty, and elements before `first` are in none."""
    rows = [[first, 3, 3, 6, 7], [first, 1, 4, 7, 7]]
    return torch.tensor(rows if leading == [2] else rows[0], device=device).reshape(*leading, 5)


def slow_reduce(reduce, src, target, dim, size):
    """Reduce by plain loops; target(position in src) gives the place along dim in the result, or None."""
    members = defaultdict(list)
    for at in product(*map(range, src.shape)):
        members[(*at[:dim], target(at), *at[dim + 1 :])].append((src[at], at[dim]))
    shape = [*src.shape[:dim], size, *src.shape[dim + 1 :]]
    results, positions = [], []
    for at in product(*map(range, shape)):
        value = src.new_ones(()) if reduce == "mul" else src.new_zeros(())
        position = src.shape[dim]
        if reduce in ("min", "max") and members[at]:
            choose = min if reduce == "min" else max
            value, position = choose(members[at], key=lambda member: member[0].item())
        elif reduce in ("sum", "mean", "mul"):
            for member, _ in members[at]:
                value = value * member if reduce == "mul" else value + member
            if reduce == "mean":
                value = value / max(len(members[at]), 1)
        results.append(value)
        positions.append(position)
    return torch.stack(results).reshape(shape), torch.tensor(positions).reshape(shape)


def by_index(index, dim):
    """Return the target function of an index: with one dimension it lies along dim, with more it covers the first."""
    if index.dim() == 1:
        return lambda at: int(index[at[dim]])
    return lambda at: int(index[tuple(min(i, n - 1) for i, n in zip(at, index.shape, strict=False))])


def by_boundaries(indptr):
    """Return the target function of segment boundaries."""

    def target(at):
        leading = tuple(min(i, n - 1) for i, n in zip(at, indptr.shape[:-1], strict=False))
        row, element = indptr[leading].tolist(), at[indptr.dim() - 1]
        inside = [s for s in range(len(row) - 1) if row[s] <= element < row[s + 1]]
        return inside[0] if inside else None

    return target


def assert_same(got, expected, *inputs):
    """Compare values, or pairs (value, position), and the gradients of a weighted sum of the values."""
    if isinstance(got, tuple):
        assert got[1].tolist() == expected[1].tolist()
        got, expected = got[0], expected[0]
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    inputs = [tensor for tensor in inputs if tensor.requires_grad]
    if inputs:
        weights = values(got.shape, got.device, seed=5)
        ours = torch.autograd.grad(got, inputs, weights, retain_graph=True)
        theirs = torch.autograd.grad(expected, inputs, weights, retain_graph=True)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def as_result(reduce, result):
    return result if reduce in ("min", "max") else result[0]
