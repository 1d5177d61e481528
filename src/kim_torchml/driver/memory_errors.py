# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tell users in one sentence that a device has not enough memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kim_torchml.engines.errors import is_out_of_memory, reason_of
from kim_torchml.errors import DriverError
from kim_torchml.process.device import describe_device

_LESS_BESIDE_IT = "end what else is there, or use a device with more memory, or fewer ranks on each"
FEWER_PARTICLES = "use fewer particles, or more ranks or devices"


@contextmanager
def enough_memory(device: torch.device, file_name: str, what: str, remedy: str = _LESS_BESIDE_IT) -> Iterator[None]:
    """Turn an error of a device without memory into one for its user.

    Args:
        device: The device.
        file_name: Name of the model's file.
        what: What the memory was to hold beside the model.
        remedy: What the user can do.
    Raises:
        DriverError: If torch runs out of memory meanwhile.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DriverError(
            f"the memory of {describe_device(device)} must hold the model in {file_name} and "
            f"{what}, got: {reason_of(error)}; {remedy}"
        ) from error
