# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model may return, which is known only when it does, and the errors for everything else."""

from typing import Any

import torch

from kim_torchml.errors import DriverError


def energy_and_forces(
    result: Any, returns_forces: bool, stated: str, file_name: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (energy, forces or None) out of what a model returned.

    Args:
        result: What it returned.
        returns_forces: Whether it is to return forces.
        stated: Who says so, for messages.
        file_name: Name of the model's file, for messages.
    Raises:
        DriverError: If it has returned something else.
    """
    if isinstance(result, torch.Tensor) and not returns_forces:
        return _real(result, "energy", file_name), None
    is_pair = isinstance(result, tuple | list) and len(result) == 2
    if is_pair and returns_forces and all(isinstance(part, torch.Tensor) for part in result):
        return _real(result[0], "energy", file_name), _real(result[1], "forces", file_name)
    expected = "a pair of tensors (energy, forces)" if returns_forces else "one tensor, the energy"
    raise DriverError(
        f"the model in {file_name} must return {expected}, as {stated}, got {_describe(result)}; correct that line "
        "or the model"
    )


def _real(tensor: torch.Tensor, what: str, file_name: str) -> torch.Tensor:
    if tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta:
        return tensor
    raise DriverError(
        f"the {what} of the model in {file_name} must be a dense tensor of real floating-point numbers, got one of "
        f"{tensor.dtype}, {tensor.layout}, on {tensor.device}; convert it before returning it"
    )


def _describe(result: Any) -> str:
    if isinstance(result, torch.Tensor):
        return f"a tensor of shape {list(result.shape)}"
    if isinstance(result, tuple | list):
        return f"{len(result)} values ({', '.join(type(part).__name__ for part in result)})"
    return f"a {type(result).__name__}"
