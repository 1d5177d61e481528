# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tell users in one sentence that a device has not enough memory, or has failed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kim_torchml.engines.errors import is_gpu_failure, is_out_of_memory, reason_of, reason_of_gpu
from kim_torchml.errors import DriverError
from kim_torchml.process.device import describe_device

_LESS_BESIDE_IT = "end what else is there, or use a device with more memory, or fewer ranks on each"
FEWER_PARTICLES = "use fewer particles, or more ranks or devices"
_ASSERTIONS = ("device-side assert", "illegal memory access")
_AFTER_ASSERTION = (
    "the usual reason is an index beyond a table of the model, such as that of species; "
    "KIM_MODEL_EXECUTION_DEVICE=cpu shows where, and this process cannot use the GPU any more"
)
_AFTER_OTHERS = "check the GPU with nvidia-smi, and that this torch is built for it (docs/install.md)"


@contextmanager
def enough_memory(device: torch.device, file_name: str, what: str, remedy: str = _LESS_BESIDE_IT) -> Iterator[None]:
    """Turn an error of a device without memory, or of a GPU that has failed, into one for its user.

    Args:
        device: The device.
        file_name: Name of the model's file.
        what: What the memory was to hold beside the model.
        remedy: What the user can do.
    Raises:
        DriverError: If torch runs out of memory meanwhile, or the GPU fails.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_gpu_failure(error):
            reason = reason_of_gpu(error)
            advice = _AFTER_ASSERTION if any(each in reason for each in _ASSERTIONS) else _AFTER_OTHERS
            raise DriverError(
                f"{describe_device(device)} must compute the model in {file_name} with {what}, got: {reason}; {advice}"
            ) from error
        if not is_out_of_memory(error):
            raise
        raise DriverError(
            f"the memory of {describe_device(device)} must hold the model in {file_name} and "
            f"{what}, got: {reason_of(error)}; {remedy}"
        ) from error
