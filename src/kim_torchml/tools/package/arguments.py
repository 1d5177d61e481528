# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arguments of `save_model`, looked at one by one: errors name the argument, and say what it must be."""

import numbers
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kim_torchml.errors import DriverError, shortened
from kim_torchml.model_files.description import KindFormat, Limits
from kim_torchml.model_files.model_toml import ABOUT_TEXTS
from kim_torchml.tools.plain_doi import plain_doi

LIMITS = ("smallest_distance", "most_neighbours", "stop")

_ABOUT = (*ABOUT_TEXTS, "authors")
_LONGEST_QUOTE = 60
# Python writes no integers of thousands of digits.
_LARGEST_INTEGER = 1 << 63


def path_of(value: object, what: str) -> Path:
    """Return a path; a `~` at its beginning is the home folder, as in a shell."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise DriverError(f"`{what}` must be a path, got {_quoted(value)}; give one")
    return with_home(path)


def with_home(path: str) -> Path:
    """Return a path whose `~` is the home folder, or stays where nobody of that name is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def word_of(value: object, what: str, words: Sequence[str]) -> str:
    """Return one of several words."""
    if not isinstance(value, str) or value not in words:
        *others, last = (f'"{each}"' for each in words)
        raise DriverError(f"`{what}` must be {', '.join(others)} or {last}, got {_quoted(value)}; name one of them")
    return value


def number_of(value: object, what: str) -> float:
    """Return a number, of Python or numpy; for Python true and false are numbers too."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise DriverError(f"`{what}` must be a number, got {_quoted(value)}; give one")
    try:
        return float(value)
    except OverflowError as error:
        raise DriverError(f"`{what}` must be a number of few digits, got one of many; give a smaller one") from error


def integer_of(value: object, what: str) -> int:
    """Return a whole number, of Python or numpy."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise DriverError(f"`{what}` must be a whole number, got {_quoted(value)}; give one")
    if abs(int(value)) >= _LARGEST_INTEGER:
        raise DriverError(f"`{what}` must be a whole number of few digits, got one of many; give a smaller one")
    return int(value)


def flag_of(value: object, what: str) -> bool:
    """Return true or false; a text such as "false" would count as true."""
    if not isinstance(value, bool):
        raise DriverError(f"`{what}` must be True or False, got {_quoted(value)}; give one of them")
    return value


def texts_of(values: object, what: str, example: str) -> tuple[str, ...]:
    """Return texts that were given one by one, or a single one."""
    found = (values,) if isinstance(values, str) else tuple(values) if isinstance(values, Sequence) else ()
    if not found or not all(isinstance(each, str) and each.strip() for each in found):
        raise DriverError(f"`{what}` must be a list of texts, got {_quoted(values)}; give one such as {example}")
    return found


def text_of(value: object, what: str, example: str) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise DriverError(f"`{what}` must be a text, got {_quoted(value)}; give one such as {example}, or leave it out")
    return value


def descriptions_of(values: object, what: str, example: str) -> dict[str, str]:
    """Return texts by name, which may be empty."""
    table = _table(values, what, example)
    for key, value in table.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise DriverError(f"`{what}` must be texts by name, got {_quoted(value)} for {_quoted(key)}; give texts")
    return dict(table)


def versions_of(values: object) -> dict[str, str]:
    """Return the versions of software by its name."""
    example = '{"trainer": "1.2"}'
    table = _table(values, "made_with", example)
    return {str(key): text_of(value, f"made_with[{key!r}]", '"1.2"') for key, value in table.items()}


def about_of(values: object) -> dict[str, str | list[str]]:
    """Return title, authors and the like by name."""
    about: dict[str, str | list[str]] = {}
    for key, value in _known(values or {}, _ABOUT, "about", '{"title": "A network for SiC"}').items():
        what = f"about[{key!r}]"
        if key == "authors":
            about[key] = list(texts_of(value, what, '["Marie Curie"]'))
        else:
            about[key] = text_of(value, what, _EXAMPLES[key])
        if key == "doi" and not re.fullmatch(r"10\.\d[\d.]*/\S+", plain_doi(str(value))):
            raise DriverError(f"`{what}` must be a DOI, got {_quoted(value)}; give one such as {_EXAMPLES[key]}")
    return about


_EXAMPLES = {
    "title": '"A network for SiC"',
    "doi": '"10.1000/182"',
    "licence": '"CC-BY-4.0"',
    "description": '"For SiC up to 2000 K"',
    "trained_on": '"a data set of SiC"',
}


def limits_of(values: object) -> Limits | None:
    """Return the limits; None where nothing was said of them."""
    if values is None:
        return None
    given = _known(values, LIMITS, "limits", '{"smallest_distance": 0.7}')
    distance, most, stop = (given.get(key) for key in LIMITS)
    if distance is None and most is None:
        raise DriverError(
            f"`limits` must say {LIMITS[0]} or {LIMITS[1]}, got neither; say beyond what the model is not to be trusted"
        )
    return Limits(
        0.0 if distance is None else number_of(distance, f"limits[{LIMITS[0]!r}]"),
        None if most is None else integer_of(most, f"limits[{LIMITS[1]!r}]"),
        stop is not None and flag_of(stop, f"limits[{LIMITS[2]!r}]"),
    )


def check_descriptor(name: object, file: Path | None, kind: str, kind_format: KindFormat) -> None:
    """Check that a descriptor and its file are named where the kind has one, and nowhere else.

    Args:
        name: Name of the descriptor; None where none was given.
        file: Path of its file; None where none was given.
        kind: The kind's word.
        kind_format: What the files of the kind say.
    Raises:
        DriverError: If they are not.
    """
    for value, what, example in ((name, "descriptor", '"SOAP"'), (file, "descriptor_file", "soap.dat")):
        if value is not None and not kind_format.names_descriptor:
            raise DriverError(f"`{what}` must be left out for the kind {kind}, got {_quoted(value)}; leave it out")
        if value is None and kind_format.names_descriptor:
            raise DriverError(f"`{what}` must be given for the kind {kind}, got none; give one such as {example}")
    if name is not None:
        text_of(name, "descriptor", '"SOAP"')


def _known(values: object, known: Sequence[str], what: str, example: str) -> Mapping[Any, Any]:
    table = _table(values, what, example)
    for key in table:
        if key not in known:
            raise DriverError(
                f"the keys of `{what}` must be among {', '.join(known)}, got {_quoted(key)}; correct or remove it"
            )
    return table


def _table(values: object, what: str, example: str) -> Mapping[Any, Any]:
    if not isinstance(values, Mapping):
        raise DriverError(f"`{what}` must be a dictionary, got {_quoted(values)}; give one such as {example}")
    return values


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, Path) else shortened(repr(value), _LONGEST_QUOTE)
