# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one exception that users of the driver see, and how texts of others are quoted in it."""


def printable(text: str) -> str:
    """Return a text on one line, without control characters and bytes that are no text: it may quote a file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, longest: int = 250) -> str:
    """Return the beginning of a text on one line; a text of at most `longest` characters is returned as a whole."""
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    beginning, _, rest = line[:longest].rpartition(" ")
    # A text without blanks is cut anywhere.
    return f"{beginning if len(rest) < longest // 2 else line[:longest]} ..."


class DriverError(Exception):
    """Something the user can put right; its one string says what is wrong and what to do."""

    def __init__(self, message: str) -> None:
        """Keep the message on one line: it may quote a stranger's file."""
        super().__init__(printable(message))

    # The shim knows the class by this name, as it must not depend on which copy of the package was imported.
    is_kim_torchml_error = True
