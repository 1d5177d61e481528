# SPDX-License-Identifier: LGPL-2.1-or-later
"""The floating type that torch gives to what has none of its own, such as a number times an integer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let torch's default floating type be another one; afterwards it is as it was."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
