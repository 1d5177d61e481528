# SPDX-License-Identifier: LGPL-2.1-or-later
"""The JSON in a .pt2 file, whose values are checked as they are taken: a stranger has written it."""

import json
from typing import Any

from kim_torchml.engines.errors import reason_of
from kim_torchml.errors import DriverError, shortened

_LONGEST_QUOTATION = 60
_SMALLEST_INTEGER, _LARGEST_INTEGER = -(1 << 63), (1 << 63) - 1


def read_json(content: bytes, where: str, file_name: str) -> "JsonObject":
    """Return the object that a JSON text is.

    Args:
        content: The text, in UTF-8.
        where: What it is, for messages.
        file_name: Name of the model file, for messages.
    Raises:
        DriverError: If it is no JSON, or no object.
    """
    try:
        # Left to itself, json would look for UTF-16 and UTF-32 too.
        values = json.loads(content.decode())
    except RecursionError as error:
        raise damaged(file_name, f"{where} has lists or objects nested too deeply") from error
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise damaged(file_name, f"{where} is no JSON ({reason_of(error)})") from error
    return JsonObject(values, where, file_name)


def damaged(file_name: str, what: str) -> DriverError:
    """Return the error for a program that says what no export writes."""
    return DriverError(
        f"the program in the model file {file_name} is damaged, or of a form that is not known: {what}; export the "
        "model again with torch.export.save"
    )


def quoted(value: Any) -> str:
    """Return a value out of a file for a message, cut where it is long."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return shortened(repr(value[:_LONGEST_QUOTATION]) if isinstance(value, str) else json.dumps(value))


class JsonObject:
    """An object of a JSON text.

    Attributes:
        where: what it is, for messages.
        file_name: name of the model file, for messages.
    """

    __slots__ = ("_values", "file_name", "where")

    def __init__(self, values: Any, where: str, file_name: str) -> None:
        """Keep the values; raise DriverError if they are no object."""
        self.where = where
        self.file_name = file_name
        if not isinstance(values, dict):
            raise self.error(f"must be an object, got {quoted(values)}")
        self._values = values

    def error(self, what: str, key: str = "") -> DriverError:
        """Return the error for this object, or for what a key holds: what it must be and is not."""
        return damaged(self.file_name, f"{self._place(key)} {what}")

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}" if key else self.where

    def has(self, key: str) -> bool:
        """Return whether a key is given."""
        return key in self._values

    def value(self, key: str) -> Any:
        """Return what a key holds, whatever it is."""
        if key not in self._values:
            raise self.error("is missing", key)
        return self._values[key]

    def text(self, key: str) -> str:
        """Return the text that a key holds."""
        found = self.value(key)
        if not isinstance(found, str):
            raise self.error(f"must be a text, got {quoted(found)}", key)
        return found

    def flag(self, key: str) -> bool:
        """Return the truth value that a key holds."""
        found = self.value(key)
        if not isinstance(found, bool):
            raise self.error(f"must be true or false, got {quoted(found)}", key)
        return found

    def integer(self, key: str) -> int:
        """Return the integer of 64 bits that a key holds."""
        return self.as_integer(self.value(key), key)

    def as_integer(self, found: Any, key: str) -> int:
        """Return a value that a key holds, or that is in its list, as an integer of 64 bits."""
        if not isinstance(found, int) or isinstance(found, bool) or not _SMALLEST_INTEGER <= found <= _LARGEST_INTEGER:
            raise self.error(f"must be an integer of 64 bits, got {quoted(found)}", key)
        return found

    def items(self, key: str) -> list[Any]:
        """Return the list that a key holds."""
        found = self.value(key)
        if not isinstance(found, list):
            raise self.error(f"must be a list, got {quoted(found)}", key)
        return found

    def object(self, key: str) -> "JsonObject":
        """Return the object that a key holds."""
        return JsonObject(self.value(key), self._place(key), self.file_name)

    def objects(self, key: str) -> list["JsonObject"]:
        """Return the objects of the list that a key holds."""
        place = self._place(key)
        return [JsonObject(each, f"{place}[{number}]", self.file_name) for number, each in enumerate(self.items(key))]

    def named(self, key: str) -> list[tuple[str, "JsonObject"]]:
        """Return the names and objects of the object that a key holds."""
        inside = self.object(key)
        return [(name, inside.object(name)) for name in inside._values]

    def choice(self) -> str:
        """Return the one key of an object that says by it what it is."""
        if len(self._values) != 1:
            raise self.error(f"must have one key, got {len(self._values)}")
        (key,) = self._values
        return str(key)
