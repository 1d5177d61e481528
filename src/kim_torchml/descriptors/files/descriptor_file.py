# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lines of data of a descriptor file, and the checks of the values in them.

A module for each descriptor, beside this one, reads the layout of its files.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kim_torchml.errors import DriverError
from kim_torchml.model_files.plain_text import is_number, lines_of, quoted, to_number

# Some programs write only eight digits.
_RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class SpeciesAndCutoff:
    """The species and the cutoff of the model, which the descriptor's file must agree with.

    Attributes:
        species: Element symbols; the index is the species code.
        cutoff: Largest cutoff of any pair of species, Å.
        source: File that says so, for errors.
    """

    species: tuple[str, ...]
    cutoff: float
    source: str


@dataclass(frozen=True)
class Field:
    """A word or number in the file.

    Attributes:
        text: Text of the word or number.
        line: Number of its line, counted from 1.
    """

    text: str
    line: int

    def is_number(self) -> bool:
        """Return whether the field is a number."""
        return is_number(self.text)


class DescriptorFile:
    """The lines of data of a file, taken one after the other.

    Blank lines and comments are left out; a comment is everything from a '#' to the end of the line.
    """

    def __init__(self, content: str, name: str) -> None:
        """Divide the content into lines and fields; `name` is the name of the file in errors."""
        self.name = name
        lines = lines_of(content.removeprefix("\ufeff"))
        self._n_lines = len(lines)
        self._blank_lines = [n for n, line in enumerate(lines, start=1) if not line.strip()]
        fields = [[Field(text, n) for text in line.split("#")[0].split()] for n, line in enumerate(lines, start=1)]
        self._lines = [line for line in fields if line]
        self._position = 0

    def at_end(self) -> bool:
        """Return whether all lines have been taken."""
        return self._position == len(self._lines)

    def peek(self) -> Field | None:
        """Return the first field of the next line without taking the line; None at the end of the file."""
        return None if self.at_end() else self._lines[self._position][0]

    def line(self, what: str) -> list[Field]:
        """Take the next line; the error for a missing line calls it `what`."""
        if self.at_end():
            raise DriverError(
                f"`{what}` is missing (file {self.name}, after line {self._n_lines}): the file ends early; add what "
                "is missing"
            )
        self._position += 1
        return self._lines[self._position - 1]

    def are_apart(self, first: Field, second: Field) -> bool:
        """Return whether a blank line is between two fields."""
        return any(first.line < n < second.line for n in self._blank_lines)

    def row(self, what: str, n_fields: int) -> list[Field]:
        """Take the next line, which must have n_fields fields."""
        line = self.line(what)
        if len(line) != n_fields:
            found = Field(" ".join(field.text for field in line), line[0].line)
            values = "one value" if n_fields == 1 else f"{n_fields} values"
            raise self.error(what, f"{values} on a line", found, "correct the line, or a number of lines above it")
        return line

    def value(self, what: str) -> Field:
        """Take the next line, which must have one field."""
        return self.row(what, 1)[0]

    def error(self, what: str, expected: str, found: Field, advice: str) -> DriverError:
        """Return the error for a field that is not as expected."""
        return DriverError(
            f"`{what}` must be {expected}, got {quoted(found.text)} (file {self.name}, line {found.line}); {advice}"
        )

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Add the name of the file to errors raised by code that does not know the file."""
        try:
            yield
        except DriverError as error:
            raise DriverError(f"{error} (file {self.name})") from error

    def number(self, what: str, field: Field) -> float:
        """Return a field as a finite number."""
        value = to_number(field.text)
        if not math.isfinite(value):
            raise self.error(what, "a number", field, f"correct the {what}")
        return value

    def positive(self, what: str, field: Field) -> float:
        """Return a field as a number above zero."""
        value = self.number(what, field)
        if value <= 0.0:
            raise self.error(what, "above zero", field, f"correct the {what}")
        return value

    def not_negative(self, what: str, field: Field) -> float:
        """Return a field as a number that is zero or more."""
        value = self.number(what, field)
        if value < 0.0:
            raise self.error(what, "zero or more", field, f"correct the {what}")
        return value

    def whole(self, what: str, field: Field, smallest: int) -> int:
        """Return a field as a whole number."""
        if not re.fullmatch(r"[0-9]{1,6}", field.text) or int(field.text) < smallest:
            raise self.error(what, f"a whole number, {smallest} or more", field, f"correct the {what}")
        return int(field.text)

    def flag(self, what: str, field: Field) -> bool:
        """Return a field as true or false."""
        if field.text.lower() not in ("true", "false", "1", "0"):
            raise self.error(what, "true or false, or 1 or 0", field, f"correct the {what}")
        return field.text.lower() in ("true", "1")

    def expect_end(self) -> None:
        """Check that all lines have been taken."""
        field = self.peek()
        if field is not None:
            raise self.error("end of file", "here", field, "remove the extra lines, or correct a number of lines above")


def nearly_equal(first: float, second: float) -> bool:
    """Return whether two numbers are equal apart from the rounding of the program that wrote them."""
    return math.isclose(first, second, rel_tol=_RELATIVE_TOLERANCE)
