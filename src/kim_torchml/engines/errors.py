# SPDX-License-Identifier: LGPL-2.1-or-later
"""What torch's own errors mean, for messages on one line."""

import re


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch, or a TorchScript model in its own words, ran out of memory on any device."""
    # TorchScript hands on the text of torch's exceptions, but not their types.
    return isinstance(error, MemoryError) or any(
        text in str(error) for text in ("out of memory", "DefaultCPUAllocator: can't allocate memory")
    )


def reason_of(error: BaseException) -> str:
    """Return an error's reason on one line and, for a TorchScript model, where in its code the error arose."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    places = [line for line in lines if line.startswith('File "code/')]
    # The interpreter ends with "RuntimeError: reason", which may go on over several lines; the compiler begins with it.
    reasons = [number for number, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b.*:", line)]
    if lines[0].startswith(("Unknown builtin", "forward()")):
        reason = lines[0]
    else:
        reason = " ".join(lines[reasons[-1] :]) if reasons else lines[-1]
    return f"{reason} ({places[-1]})" if places else reason
