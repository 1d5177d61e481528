# SPDX-License-Identifier: LGPL-2.1-or-later
"""A table of a TOML file, read key by key: every missing, unknown or mistyped key is an error that says what to do."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from kim_torchml.errors import DriverError, shortened

# What TOML calls the types of values.
_TYPES = {str: "text", bool: "a boolean", int: "an integer", float: "a number", list: "an array", dict: "a table"}
_LONGEST_QUOTE = 60
_LONGEST_ARRAY = 150
# Bits. Python converts integers of thousands of digits to text only if it is told to.
_LONGEST_INTEGER = 128


class TomlTable:
    """One table.

    Attributes:
        name: dotted name of the table; empty for the top of the file.
        file_name: name of the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], name: str, file_name: str) -> None:
        self.name = name
        self.file_name = file_name
        self._values = values

    def has(self, key: str) -> bool:
        """Return whether a key is given."""
        return key in self._values

    def all_keys(self) -> list[str]:
        """Return all keys."""
        return list(self._values)

    def check_keys(self, known: Sequence[str]) -> None:
        """Check that every key is a known one.

        This comes before the keys are read: a misspelt key is not called a missing one.

        Raises:
            DriverError: If one is not, with the known one that is spelt like it.
        """
        for key in self._values:
            if key not in known:
                close = get_close_matches(key.lower(), known, n=1)
                hint = f"did you mean `{close[0]}`?" if close else "remove it"
                raise DriverError(
                    f"the keys{self._where()} must be among {', '.join(known)}, got {_key(key)} "
                    f"(file {self.file_name}); {hint}"
                )

    def error(self, key: str, expected: str, advice: str, found: str = "") -> DriverError:
        """Return the error for the value of a key; `found` is the part of the value that is wrong, by default all."""
        shown = _quoted(found) if found else _shown(self._values[key])
        return DriverError(f"{self._named(key)} must be {expected}, got {shown} (file {self.file_name}); {advice}")

    def table(self, key: str) -> "TomlTable":
        """Return the table of a key.

        Raises:
            DriverError: If it is missing or no table.
        """
        values = self._value(key, dict, f"a table, [{key}]", f"write the line [{key}] and its keys below it")
        return TomlTable(values, f"{self.name}.{key}" if self.name else key, self.file_name)

    def text(self, key: str, expected: str, advice: str) -> str:
        """Return a text that is not empty.

        Args:
            key: Its key.
            expected: What it must be, for messages.
            advice: What to do where it is something else.
        Raises:
            DriverError: If it is missing, empty or no text.
        """
        value = self.text_or_nothing(key, expected, advice)
        if not value.strip():
            raise self.error(key, expected, advice)
        return value

    def text_or_nothing(self, key: str, expected: str, advice: str) -> str:
        """Return a text that may be empty; see `text`."""
        return str(self._value(key, str, expected, advice))

    def choice(self, key: str, choices: Sequence[str], advice: str) -> str:
        """Return a text that is one of several."""
        *others, last = (f'"{each}"' for each in choices)
        expected = f"{', '.join(others)} or {last}" if others else last
        value = self.text(key, expected, advice)
        if value not in choices:
            raise self.error(key, expected, advice)
        return value

    def number(self, key: str, smallest: float, largest: float, expected: str, advice: str) -> float:
        """Return a number between two others, these included; an integer is a number too."""
        value = self._value(key, (int, float), expected, advice)
        # NaN is in no range.
        if not smallest <= value <= largest:
            raise self.error(key, expected, advice)
        return float(value)

    def integer(self, key: str, smallest: int, largest: int, expected: str, advice: str) -> int:
        """Return an integer between two others, these included."""
        value = self._value(key, int, expected, advice)
        if not smallest <= value <= largest:
            raise self.error(key, expected, advice)
        return int(value)

    def boolean(self, key: str, advice: str) -> bool:
        """Return true or false."""
        return bool(self._value(key, bool, "true or false", advice))

    def texts(self, key: str, expected: str, advice: str) -> list[str]:
        """Return an array of at least one text."""
        values = self._value(key, list, expected, advice)
        if not values or not all(isinstance(each, str) for each in values):
            raise self.error(key, expected, advice)
        return list(values)

    def _value(self, key: str, types: type | tuple[type, ...], expected: str, advice: str) -> Any:
        if key not in self._values:
            raise DriverError(f"{self._named(key)} is missing (file {self.file_name}): it must be {expected}; {advice}")
        value = self._values[key]
        # For Python true and false are integers too.
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise self.error(key, expected, advice)
        return value

    def _named(self, key: str) -> str:
        return f"{_key(key)}{self._where()}"

    def _where(self) -> str:
        return f" in [{self.name}]" if self.name else ""


def _key(key: str) -> str:
    return f"`{shortened(key, _LONGEST_QUOTE)}`"


def _quoted(text: str) -> str:
    # Blanks stay: they may be what is wrong.
    return f'"{text}"' if len(text) <= _LONGEST_QUOTE else f'"{text[:_LONGEST_QUOTE]} ..."'


def _shown(value: Any) -> str:
    """Return a value for an error message: as TOML writes it, or its type where it is long."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        return "an integer of many digits"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list) and len(value) <= 10 and all(isinstance(each, (str, int, float)) for each in value):
        return shortened(f"[{', '.join(map(_shown, value))}]", _LONGEST_ARRAY)
    return next((word for kind, word in _TYPES.items() if isinstance(value, kind)), "a date or time")
