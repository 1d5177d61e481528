# SPDX-License-Identifier: LGPL-2.1-or-later
"""A table of a TOML file, read key by key: every missing, unknown or mistyped key is an error that says what to do."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from kim_torchml.errors import DriverError, shortened

# What TOML calls the types of values.
_TYPES = {str: "text", bool: "a boolean", int: "an integer", float: "a number", list: "an array", dict: "a table"}
_LONGEST_QUOTE = 60


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
        self._asked: list[str] = []

    def has(self, key: str) -> bool:
        """Return whether a key is given; from then on it counts as known."""
        self._asked.append(key)
        return key in self._values

    def all_keys(self) -> list[str]:
        """Return all keys; from then on they count as known."""
        self._asked += self._values
        return list(self._values)

    def error(self, key: str, expected: str, advice: str) -> DriverError:
        """Return the error for the value of a key."""
        found = self._values[key]
        return DriverError(
            f"`{key}`{self._where()} must be {expected}, got {_shown(found)} (file {self.file_name}); {advice}"
        )

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
        value = self._value(key, str, expected, advice)
        if not value.strip():
            raise self.error(key, expected, advice)
        return str(value)

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

    def count(self, key: str, largest: int, advice: str) -> int:
        """Return an integer from 1 to a largest one."""
        expected = f"a whole number from 1 to {largest}"
        value = self._value(key, int, expected, advice)
        if not 1 <= value <= largest:
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

    def finish(self) -> None:
        """Check that there is no key that was not asked for.

        Raises:
            DriverError: If there is one.
        """
        for key in self._values:
            if key not in self._asked:
                raise self._unknown(key)

    def _unknown(self, key: str) -> DriverError:
        close = get_close_matches(key, self._asked, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "remove it"
        known = ", ".join(dict.fromkeys(self._asked))
        return DriverError(
            f"the keys{self._where()} must be among {known}, got `{shortened(key, _LONGEST_QUOTE)}` "
            f"(file {self.file_name}); {hint}"
        )

    def _value(self, key: str, types: type | tuple[type, ...], expected: str, advice: str) -> Any:
        if not self.has(key):
            raise DriverError(
                f"`{key}`{self._where()} is missing (file {self.file_name}): it must be {expected}; {advice}"
            )
        value = self._values[key]
        # For Python true and false are integers too.
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise self.error(key, expected, advice)
        return value

    def _where(self) -> str:
        return f" in [{self.name}]" if self.name else ""


def _shown(value: Any) -> str:
    """Return a value for an error message: as TOML writes it, or its type where it is long."""
    if isinstance(value, str):
        return f'"{shortened(value, _LONGEST_QUOTE)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return shortened(_number(value), _LONGEST_QUOTE)
    if isinstance(value, list) and len(value) <= 10 and all(isinstance(each, (str, int, float)) for each in value):
        return f"[{', '.join(map(_shown, value))}]"
    return next((word for kind, word in _TYPES.items() if isinstance(value, kind)), "a date or time")


def _number(value: float) -> str:
    try:
        return str(value)
    except ValueError:
        # Python converts integers of thousands of digits to text only if it is told to.
        return "an integer of thousands of digits"
