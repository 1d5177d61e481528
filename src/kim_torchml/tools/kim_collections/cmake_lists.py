# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the CMakeLists.txt of a portable model says: its KIM id, its driver, and its parameter files.

CMake itself would have to be run to know for sure. Models' files hold no more than names, written out or in variables,
so that they can be read as text; what cannot be read that way is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError, shortened
from kim_torchml.model_files.file_inside import read_inside
from kim_torchml.tools.request_error import RequestError

CMAKE_LISTS = "CMakeLists.txt"

_COMMAND = "add_kim_api_model_library"
_KEYWORDS = (
    "NAME",
    "DRIVER_NAME",
    "PARAMETER_FILES",
    "METADATA_FILES",
    "CREATE_ROUTINE_NAME",
    "CREATE_ROUTINE_LANGUAGE",
)

_TOKEN = re.compile(
    r"""
    (?P<comment> \#\[(?P<fence>=*)\[ .*? \](?P=fence)\] | \#[^\n]* )
    | (?P<bracket> \[(?P<marks>=*)\[ .*? \](?P=marks)\] )
    | (?P<quoted> " (?: \\. | [^"\\] )* " )
    | (?P<parenthesis> [()] )
    | (?P<plain> (?: \\. | [^\s()\#"\\] )+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{(\w+)\}")

# Characters. Those of models have some hundred; variables that name each other could make a small file long.
_LONGEST = 1 << 16
# Bytes: as many as characters of UTF-8 can take.
_LARGEST = 4 * _LONGEST


@dataclass(frozen=True)
class ModelItem:
    """What a model's CMakeLists.txt says.

    Attributes:
        name: KIM id of the model.
        driver: KIM id of its driver.
        files: names of its parameter files, in KIM's order.
    """

    name: str
    driver: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Word:
    """An argument of a command: what it says, and where it stands in the text."""

    text: str
    start: int
    end: int
    may_be_list: bool


@dataclass(frozen=True)
class _Command:
    name: str
    words: tuple[_Word, ...]


def read_model_item(folder: Path) -> ModelItem:
    """Read the CMakeLists.txt of a model's folder, and check that the files that it names are there.

    Raises:
        RequestError: If the folder has none, or that defines no portable model.
        DriverError: If it cannot be read, or a file is missing.
    """
    item = parse_cmake_lists(read_cmake_lists(folder), folder / CMAKE_LISTS)
    for name in item.files:
        if not (folder / name).is_file():
            raise DriverError(
                f"PARAMETER_FILES must name files in the folder {folder}, got '{name}', which is not there (file "
                f"{folder / CMAKE_LISTS}); put it there, or remove its name"
            )
    return item


def read_cmake_lists(folder: Path) -> str:
    """Return the text of a folder's CMakeLists.txt.

    Raises:
        RequestError: If there is none.
        DriverError: If it cannot be read, is too large, a link that leaves the folder, or no file.
    """
    path = folder / CMAKE_LISTS
    try:
        text = read_inside(folder, CMAKE_LISTS, _LARGEST).decode("utf-8")
    except FileNotFoundError as error:
        raise RequestError(
            f"there is no model in {folder}: it has no {CMAKE_LISTS}; name the model's folder"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DriverError(f"cannot read {path}: {shortened(str(error))}; correct it") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_cmake_lists(text: str, path: Path) -> ModelItem:
    """Return what the text of a model's CMakeLists.txt says.

    Args:
        text: The text.
        path: Where it is, for messages.
    Raises:
        RequestError: If it defines no portable model.
        DriverError: If that has no driver, or files that cannot be read off the text.
    """
    if len(text) > _LONGEST:
        raise _too_long(path)
    variables: dict[str, list[str]] = {}
    for command in _commands(text):
        name = command.name.lower()
        values = [value for word in command.words for value in _expanded(word, variables)]
        if sum(map(len, values)) > _LONGEST:
            raise _too_long(path)
        if name == _COMMAND:
            return _model_item(values, path)
        if name == "project" and values:
            variables["PROJECT_NAME"] = values[:1]
        elif name == "set" and values:
            variables[values[0]] = values[1:]
        elif name == "list" and values[:1] == ["APPEND"] and len(values) > 1:
            variables[values[1]] = [*variables.get(values[1], []), *values[2:]]
    raise RequestError(
        f"{path} must define a portable model, got no {_COMMAND}(); name the folder of a model (drivers and simulator "
        "models are installed with kim-api-collections-management)"
    )


def without_parameter_file(text: str, name: str, path: Path) -> str:
    """Return the text of a model's CMakeLists.txt without one of its parameter files.

    Args:
        text: The text.
        name: Name of the file.
        path: Where the text is from, for messages.
    Raises:
        DriverError: If the file's name does not stand there on its own.
    """
    files = tuple(each for each in parse_cmake_lists(text, path).files if each != name)
    changed = _replaced(text, name, "")
    if parse_cmake_lists(changed, path).files != files:
        raise DriverError(
            f"PARAMETER_FILES must name '{name}' on its own (file {path}); write its name out, or install the model "
            "with --no-store"
        )
    return changed


def with_other_parameter_file(text: str, name: str, other: str, path: Path) -> str:
    """Return the text of a model's CMakeLists.txt with another file in place of one of its parameter files.

    Args:
        text: The text.
        name: Name of the file.
        other: Name of the other file.
        path: Where the text is from, for messages.
    Raises:
        DriverError: If the file's name does not stand there on its own.
    """
    files = tuple(other if each == name else each for each in parse_cmake_lists(text, path).files)
    changed = _replaced(text, name, f'"{other}"')
    if parse_cmake_lists(changed, path).files != files:
        raise DriverError(f"PARAMETER_FILES must name '{name}' on its own (file {path}); write its name out")
    return changed


def _replaced(text: str, name: str, other: str) -> str:
    """Return the text with something else in place of a file's name, wherever files may be named."""
    places = [
        (word.start, word.end)
        for command in _commands(text)
        if command.name.lower() in (_COMMAND, "set", "list")
        for word in command.words
        if word.text == name
    ]
    for start, end in reversed(places):
        text = text[:start] + other + text[end:]
    return text


def _too_long(path: Path) -> DriverError:
    return DriverError(f"{path} must have at most {_LONGEST} characters, and so must each command in it; shorten it")


def _model_item(values: list[str], path: Path) -> ModelItem:
    parts: dict[str, list[str]] = {}
    part: list[str] = []
    for value in values:
        if value in _KEYWORDS:
            part = parts.setdefault(value, [])
        else:
            part.append(value)
    name, driver = ("".join(parts.get(keyword, [])) for keyword in ("NAME", "DRIVER_NAME"))
    files = tuple(parts.get("PARAMETER_FILES", []))
    for what, value in (("NAME", name), ("DRIVER_NAME", driver)):
        if not re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII):
            raise DriverError(
                f"`{what}` of {_COMMAND}() must be a KIM id, got '{shortened(value, 60)}' (file {path}); write it out"
            )
    if unknown := next((each for each in files if "$" in each), None):
        raise DriverError(
            f"PARAMETER_FILES must name files, got '{shortened(unknown, 60)}', which only CMake can tell (file {path});"
            " write the names out"
        )
    return ModelItem(name, driver, files)


def _commands(text: str) -> Iterator[_Command]:
    """Yield the commands of a CMake file; parentheses inside arguments, as conditions have them, are left out."""
    name, depth = "", 0
    words: list[_Word] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup if token["comment"] is None else "comment"
        if kind == "comment" or token["other"] is not None:
            continue
        if token["parenthesis"] == "(":
            depth += 1
        elif token["parenthesis"] == ")":
            depth -= 1
            if depth == 0:
                yield _Command(name, tuple(words))
                name, words = "", []
        elif depth == 0:
            name = token[0]
        else:
            words.append(_word(token))


def _word(token: "re.Match[str]") -> _Word:
    text = token[0]
    if token["bracket"] is not None:
        text = re.sub(r"^\[=*\[\n?|\]=*\]$", "", text)
    elif token["quoted"] is not None:
        text = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return _Word(text, token.start(), token.end(), token["plain"] is not None)


def _expanded(word: _Word, variables: dict[str, list[str]]) -> list[str]:
    """Return what a word stands for; variables that are not known stay as they are."""

    def value(match: "re.Match[str]") -> str:
        return ";".join(variables[match[1]]) if match[1] in variables else match[0]

    text = _VARIABLE.sub(value, word.text)
    return [each for each in text.split(";") if each] if word.may_be_list else [text]
