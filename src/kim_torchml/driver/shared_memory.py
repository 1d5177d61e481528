# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which tensors share memory: tied weights do, and views of others."""

from collections.abc import Iterable

import torch

# Device, type, address of the first entry, shape and strides. Two tensors have the same only if they are tied weights.
Memory = tuple[torch.device, torch.dtype, int, tuple[int, ...], tuple[int, ...]]


def spans_memory(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has entries at addresses that can be told: it is dense and not empty."""
    return tensor.layout == torch.strided and tensor.numel() > 0


def repeats_entries(tensor: torch.Tensor) -> bool:
    """Return whether several entries of a dense tensor are one in memory, as `expand` makes them: none can be set."""
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def memory_of(tensor: torch.Tensor) -> Memory:
    """Return where the entries of a dense tensor are."""
    return tensor.device, tensor.dtype, tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


def share_memory(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Return whether two tensors share memory and are not the same tensor, as tied weights are."""
    if not spans_memory(first) or not spans_memory(second) or memory_of(first) == memory_of(second):
        return False
    (begin, end), (other_begin, other_end) = _extent(first), _extent(second)
    return first.device == second.device and begin < other_end and other_begin < end


def find_sharing(tensors: Iterable[torch.Tensor]) -> set[Memory]:
    """Return the memory of those tensors that share part of it with another one of them and are not the same.

    Takes time in proportion to n log n: models have hundreds of tensors.
    """
    distinct = {memory_of(tensor): _extent(tensor) for tensor in tensors if spans_memory(tensor)}
    sharing: set[Memory] = set()
    # In the order of addresses it is enough to remember the tensor that reaches farthest so far.
    reaching: tuple[Memory, int] | None = None
    for memory, (begin, end) in sorted(distinct.items(), key=lambda item: (str(item[0][0]), item[1])):
        if reaching is not None and reaching[0][0] == memory[0] and begin < reaching[1]:
            sharing |= {reaching[0], memory}
        if reaching is None or reaching[0][0] != memory[0] or end > reaching[1]:
            reaching = memory, end
    return sharing


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the addresses of a tensor's first byte and of that after its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
