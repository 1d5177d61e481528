# SPDX-License-Identifier: LGPL-2.1-or-later
"""Model files as programs that can be called: one folder for each file format, registered here under its suffix."""

from collections.abc import Callable
from pathlib import PurePath

import torch

from kim_torchml.engines.contract import CallSignature, Program
from kim_torchml.engines.exported.program import open_exported
from kim_torchml.engines.torchscript.program import open_torchscript

OPENERS: dict[str, Callable[[bytes, str, torch.device, CallSignature], Program]] = {
    ".pt": open_torchscript,
    ".pt2": open_exported,
}


def open_program(content: bytes, file_name: str, device: torch.device, signature: CallSignature) -> Program:
    """Open a model file.

    Args:
        content: The file's bytes.
        file_name: Its name, which says its format by its suffix and stands in messages.
        device: Where the program's tensors are to be.
        signature: What the program is to be called with.
    Returns:
        The program, shared with nobody.
    Raises:
        DriverError: If the file is damaged or not of its format, uses an operator that is missing or not allowed, or
            does not take what the signature says.
    """
    return OPENERS[PurePath(file_name).suffix](content, file_name, device, signature)


__all__ = ["OPENERS", "Program", "open_program"]
