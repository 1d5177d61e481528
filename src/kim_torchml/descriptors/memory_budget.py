# SPDX-License-Identifier: LGPL-2.1-or-later
"""The amount of memory that a descriptor works in."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class MemoryBudget:
    """Memory for the tensors of one block.

    On a CPU, larger blocks do not fit into the caches, and smaller blocks need more calls of torch.

    Attributes:
        per_thread: Memory on a CPU for each of torch's threads, bytes.
        on_gpu: Memory on other devices, and the most on a CPU, bytes.
    """

    per_thread: int
    on_gpu: int

    def on(self, device: torch.device) -> int:
        """Return the bytes for a device."""
        if device.type != "cpu":
            return self.on_gpu
        return min(self.on_gpu, self.per_thread * torch.get_num_threads())
