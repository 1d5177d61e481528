# SPDX-License-Identifier: LGPL-2.1-or-later
"""TOML of strangers, parsed: what is wrong with it is one sentence, with the line wherever there is one."""

import re
import sys
from collections.abc import Iterator
from typing import Any

from kim_torchml.errors import DriverError, shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

# Bytes. A stranger's file of any size would be parsed before it could be refused.
LARGEST_FILE = 1 << 18
# The parser's time grows with the square of the number of parts of a key: a file full of keys of a thousand parts would
# take it half a minute, and one key of a hundred thousand parts as long.
_MOST_DOTS = 400

_PLACE = re.compile(r" \((at line \d+, column \d+|at end of document)\)$")
# Each piece matches whatever follows it, so that the time grows with the length of the text and no faster.
_PIECE = re.compile(
    r"""
    (?P<skipped> \#[^\n]* | \"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z) | '{3}.*?(?:'{3}|\Z) | "(?:\\.|[^"\\\n])*"? | '[^'\n]*'? )
    | (?P<opening> [\[{] )
    | (?P<closing> [\]}] )
    | (?P<word> [\w.+-]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def parse_toml(content: bytes, name: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Args:
        content: The file's bytes.
        name: Its name, for messages.
    Raises:
        DriverError: If it is too large, no text, or no TOML.
    """
    if len(content) > LARGEST_FILE:
        raise DriverError(f"{name} must have at most {LARGEST_FILE} bytes, got {len(content)}; shorten it")
    text = _decoded(content, name)
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MOST_DOTS:
            found = f"got {line.count('.')} at line {number}; shorten or divide it"
            raise DriverError(f"a line of {name} must have at most {_MOST_DOTS} dots, {found}")
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        found = f"got arrays or tables nested too deeply (at line {_line_of_deepest(text)})"
        raise DriverError(f"{name} must be TOML, {found}; correct it") from error
    except tomllib.TOMLDecodeError as error:
        raise DriverError(f"{name} must be TOML, got: {_reason(str(error), text)}; correct it") from error
    except ValueError as error:
        # Python converts no integers of thousands of digits.
        found = f"got one of thousands of digits (at line {_line_of_longest_word(text)})"
        raise DriverError(f"the numbers in {name} must be short, {found}; correct it") from error
    return values


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise DriverError(
            f"{name} must be text in UTF-8, got the byte 0x{content[error.start]:02x} at line {line}; save it as UTF-8"
        ) from error


def _reason(words: str, text: str) -> str:
    """Return the parser's words, shortened, and the place where it had to give up.

    Args:
        words: They end with line and column, or with "at end of document".
        text: What was parsed.
    """
    place = _PLACE.search(words)
    if place is None:
        return shortened(words)
    where = place[1]
    if "line" not in where:
        # Behind the last character: blank lines at the end are nobody's mistake.
        lines = text.replace("\r\n", "\n").rstrip().split("\n")
        where = f"at line {len(lines)}, column {len(lines[-1]) + 1}, where the file ends"
    return f"{shortened(words[: place.start()])} ({where})"


def _line_of_deepest(text: str) -> int:
    """Return the line where most arrays and tables are open."""
    depth = deepest = position = 0
    for piece in _pieces(text):
        if piece["closing"]:
            depth -= 1
        elif piece["opening"]:
            depth += 1
            if depth > deepest:
                deepest, position = depth, piece.start()
    return 1 + text.count("\n", 0, position)


def _line_of_longest_word(text: str) -> int:
    """Return the line of the longest word that begins like a number."""
    words = [piece for piece in _pieces(text) if re.match(r"[+-]?\d", piece["word"] or "", re.ASCII)]
    longest = max(words, key=lambda piece: len(piece[0]), default=None)
    return 1 + (0 if longest is None else text.count("\n", 0, longest.start()))


def _pieces(text: str) -> Iterator["re.Match[str]"]:
    """Yield brackets and words outside of strings and comments."""
    return (piece for piece in _PIECE.finditer(text) if piece["skipped"] is None)
