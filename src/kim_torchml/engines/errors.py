# SPDX-License-Identifier: LGPL-2.1-or-later
"""What torch's own errors mean, for messages on one line of a few hundred characters."""

from kim_torchml.errors import shortened


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch, or a model in its own words, ran out of memory on any device."""
    # A compiled or scripted program hands on the text of torch's exceptions, but not their types.
    return isinstance(error, MemoryError) or any(
        text in str(error) for text in ("out of memory", "DefaultCPUAllocator: can't allocate memory")
    )


def reason_of(error: BaseException) -> str:
    """Return an error's text on one line, cut where it is very long; the name of its type where it has no text."""
    return shortened(str(error)) or type(error).__name__
