# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a host's Python may have set in torch for itself."""

from contextlib import contextmanager

import torch

# Default device and default dtype of the host.
HOST_DEFAULTS = [
    ("meta", torch.float32),
    ("meta", torch.float64),
    ("cpu", torch.float64),
    ("cpu", torch.float16),
    ("cpu", torch.bfloat16),
]


@contextmanager
def defaults(device, dtype):
    """Give torch a default device and dtype; check that they are still set in the end, and put the old ones back."""
    before = torch.get_default_dtype()
    torch.set_default_device(device)
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_device() == torch.device(device)
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before)
