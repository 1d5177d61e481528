# SPDX-License-Identifier: LGPL-2.1-or-later
"""What torch's own errors mean, for messages on one line of a few hundred characters."""

# Torch's errors may go on for thousands of characters: lists of every backend, of every variant of an operator.
_LONGEST_REASON = 250


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch, or a model in its own words, ran out of memory on any device."""
    # A compiled or scripted program hands on the text of torch's exceptions, but not their types.
    return isinstance(error, MemoryError) or any(
        text in str(error) for text in ("out of memory", "DefaultCPUAllocator: can't allocate memory")
    )


def reason_of(error: BaseException) -> str:
    """Return an error's text on one line, cut where it is very long; the name of its type where it has no text."""
    return shorten(str(error)) or type(error).__name__


def shorten(text: str) -> str:
    """Return the beginning of a text on one line; a text that is not very long is returned as a whole."""
    line = " ".join(text.split())
    if len(line) <= _LONGEST_REASON:
        return line
    beginning, _, rest = line[:_LONGEST_REASON].rpartition(" ")
    # A text without blanks is cut anywhere.
    return f"{beginning if len(rest) < _LONGEST_REASON // 2 else line[:_LONGEST_REASON]} ..."
