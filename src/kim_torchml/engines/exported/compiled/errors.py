# SPDX-License-Identifier: LGPL-2.1-or-later
"""What compiling can fail with."""

from kim_torchml.errors import DriverError


class NotCompiledError(DriverError):
    """A program cannot be compiled here; it runs as its file has it.

    Attributes:
        printed: what torch and the compiler have printed, where the message alone does not tell all.
    """

    def __init__(self, message: str, printed: str = "") -> None:
        """Keep the message and what was printed."""
        super().__init__(message)
        self.printed = printed
