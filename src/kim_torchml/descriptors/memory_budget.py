# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory that a descriptor may use for one block of centres."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Budget:
    """Memory for the tensors of one block. On a CPU larger blocks miss the caches, smaller ones cost calls.

    Attributes:
        per_thread: On a CPU, for each of torch's threads, bytes.
        on_gpu: On another device, and at most on a CPU, bytes.
    """

    per_thread: int
    on_gpu: int

    def on(self, device: torch.device) -> int:
        """Return the bytes for a device."""
        if device.type != "cpu":
            return self.on_gpu
        return min(self.on_gpu, self.per_thread * torch.get_num_threads())
