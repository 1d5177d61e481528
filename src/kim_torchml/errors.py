# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one exception that users of the driver see."""


class DriverError(Exception):
    """Something the user can put right; its one string says what is wrong and what to do."""

    def __init__(self, message: str) -> None:
        """Keep the message on one line and free of control characters: it may quote a stranger's file."""
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))

    # The shim, which cannot import this class for another version of the package, knows it by this name.
    is_kim_torchml_error = True
