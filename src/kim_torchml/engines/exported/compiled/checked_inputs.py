# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a compiled program is called with is checked first: it does not look, and would compute something else.

With inputs in another order of memory, a compiled program returned energies wrong by electronvolts without a word.
"""

from collections.abc import Sequence

import torch

from kim_torchml.engines.contract import CallArgument
from kim_torchml.errors import DriverError


def check_inputs(
    inputs: Sequence[torch.Tensor],
    arguments: Sequence[CallArgument],
    dtype: torch.dtype,
    device: torch.device,
    file_name: str,
) -> dict[str, int]:
    """Check types, device, sizes and order in memory of what a program is to be called with.

    Args:
        inputs: The tensors.
        arguments: What the program was made for, in the same order.
        dtype: Type of the arguments that have none of their own.
        device: The program's device.
        file_name: Name of the model file, for messages.
    Returns:
        The sizes that change from call to call, by the words that arguments have for them.
    Raises:
        DriverError: If something differs.
    """
    sizes: dict[str, int] = {}
    for tensor, argument in zip(inputs, arguments, strict=True):
        wanted, stated, found = argument.dtype or dtype, argument.sizes, tensor.shape
        fits = len(found) == len(stated)
        for size, said in zip(found, stated, strict=False):
            fits = fits and size == (said if isinstance(said, int) else sizes.setdefault(said, size))
        if not fits or tensor.dtype is not wanted or tensor.device != device or not tensor.is_contiguous():
            raise DriverError(
                f"the compiled program of {file_name} must be called with {argument.name} "
                f"[{', '.join(map(str, stated))}] of {wanted} on {device}, row by row in memory, got "
                f"{list(found)} of {tensor.dtype} on {tensor.device}; report this as a bug of kim-torchml"
            )
    return sizes


def check_indices(indices: torch.Tensor, n: int, what: str, file_name: str) -> None:
    """Check that indices name rows that are there: a compiled program reads whatever lies in memory.

    Args:
        indices: The indices.
        n: Number of what they name.
        what: What they are, for messages.
        file_name: Name of the model file, for messages.
    Raises:
        DriverError: If one does not.
    """
    if not indices.numel():
        return
    smallest, largest = torch.stack(torch.aminmax(indices)).tolist()
    if smallest < 0 or largest >= n:
        raise DriverError(
            f"{what} for the model in {file_name} must be from 0 to {n - 1}, got "
            f"{smallest if smallest < 0 else largest}"
        )
