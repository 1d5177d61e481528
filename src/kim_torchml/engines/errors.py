# SPDX-License-Identifier: LGPL-2.1-or-later
"""What torch's own errors mean, for messages on one line of a few hundred characters."""

import re

from kim_torchml.errors import shortened

# "CUDA error: no kernel image is available", "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR" and the like.
_GPU_FAILURE = re.compile(r"\b(CUDA|cu[A-Za-z]+) error: ")
_OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator: can't allocate memory", "_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch, or a model in its own words, ran out of memory on any device."""
    # A compiled or scripted program hands on the text of torch's exceptions, but not their types.
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def is_gpu_failure(error: BaseException) -> bool:
    """Return whether a GPU itself, or one of CUDA's libraries, failed for a reason other than memory.

    Kernels run after the call that has started them, so that whatever waits for the GPU next raises such an error.
    """
    return _GPU_FAILURE.search(str(error)) is not None and not is_out_of_memory(error)


def reason_of_gpu(error: BaseException) -> str:
    """Return the line of an error's text that says what failed on a GPU; lines on how to debug torch follow it."""
    lines = [line for line in str(error).splitlines() if _GPU_FAILURE.search(line)]
    return shortened(lines[-1]) if lines else reason_of(error)


def reason_of(error: BaseException) -> str:
    """Return an error's text on one line, cut where it is very long; the name of its type where it has no text."""
    return shortened(str(error)) or type(error).__name__
