# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modes of torch that a host's own Python may call in, and that must not change what a model returns."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import ParamSpec, TypeVar

import torch

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_DEVICE_TYPES = ("cpu", "cuda")


def without_host_modes(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Return a function that works with gradients and at full precision.

    A host may call under torch.no_grad(), torch.inference_mode() or torch.autocast(); the last lets matrix products
    of single precision lose half of their digits.
    """

    @functools.wraps(function)
    def call(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        # Entering modes costs as much as building a model's inputs does, and hardly any host has changed one.
        rounding = [each for each in _DEVICE_TYPES if torch.is_autocast_enabled(each)]
        if torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not rounding:
            return function(*arguments, **options)
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.enable_grad())
            for device_type in rounding:
                modes.enter_context(torch.autocast(device_type, enabled=False))
            return function(*arguments, **options)

    return call
