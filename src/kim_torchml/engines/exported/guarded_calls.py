# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators that torch runs on any numbers, although some numbers end the process or write where nothing was reserved.

They are called with numbers that do no harm instead. No value is looked at on the way: a program can still be traced,
and nothing waits for a GPU.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

# So many that no sum of them exceeds 64 bits, however many fit into memory.
_MOST_REPEATS = (1 << 31) - 1


def _repeat_places(repeats: torch.Tensor, *, output_size: Any = None) -> torch.Tensor:
    """Return each place in a tensor as often as the tensor says there.

    Torch reserves room for the sum, but writes before it meets a negative number, or notices that the sum has left 64
    bits.

    Args:
        repeats: How often to repeat each place, shape [places]; negative numbers count as 0.
        output_size: Sum of the numbers; None for what it is.
    Raises:
        RuntimeError: If that is not their sum, or they are no integers.
    """
    result: torch.Tensor = torch.ops.aten.repeat_interleave.Tensor(_bounded(repeats), output_size=output_size)
    return result


def _repeat_entries(
    tensor: torch.Tensor, repeats: torch.Tensor, dim: int | None = None, *, output_size: Any = None
) -> torch.Tensor:
    """Return each entry of a tensor along a dimension as often as `repeats` says; see _repeat_places."""
    overload = torch.ops.aten.repeat_interleave.self_Tensor
    result: torch.Tensor = overload(tensor, _bounded(repeats), dim, output_size=output_size)
    return result


def _bounded(repeats: torch.Tensor) -> torch.Tensor:
    return repeats.clamp(0, _MOST_REPEATS)


def _divide(function: Callable[..., torch.Tensor], dividend: Any, divisor: Any, *, rounding_mode: str | None) -> Any:
    """Return a rounded quotient.

    The processor stops a process that divides the smallest integer by -1, as the result has no place among integers.

    Args:
        function: Operator that divides.
        dividend: Tensor or number.
        divisor: Tensor or number.
        rounding_mode: None, "trunc" or "floor".
    """
    if rounding_mode is None or _has_fractions(dividend) or _has_fractions(divisor):
        return function(dividend, divisor, rounding_mode=rounding_mode)
    if not isinstance(divisor, torch.Tensor):
        quotient = function(dividend, 1 if divisor == -1 else divisor, rounding_mode=rounding_mode)
        return -quotient if divisor == -1 else quotient
    if not divisor.dtype.is_signed:
        return function(dividend, divisor, rounding_mode=rounding_mode)
    is_minus_one = divisor == -1
    quotient = function(dividend, divisor.masked_fill(is_minus_one, 1), rounding_mode=rounding_mode)
    return torch.where(is_minus_one, -quotient, quotient)


def _has_fractions(number: Any) -> bool:
    return number.is_floating_point() if isinstance(number, torch.Tensor) else isinstance(number, float)


# What is called in place of some operators, by their names.
GUARDED: Mapping[str, Callable[..., Any]] = {
    "aten.repeat_interleave.Tensor": _repeat_places,
    "aten.repeat_interleave.self_Tensor": _repeat_entries,
    "aten.div.Tensor_mode": partial(_divide, torch.ops.aten.div.Tensor_mode),
    "aten.div.Scalar_mode": partial(_divide, torch.ops.aten.div.Scalar_mode),
    "aten.divide.Tensor_mode": partial(_divide, torch.ops.aten.divide.Tensor_mode),
}
