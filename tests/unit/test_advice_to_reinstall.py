# SPDX-License-Identifier: LGPL-2.1-or-later
"""Advice to install a driver or a model again names --force: without it KIM says `Success!` and keeps the old one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SHIM = sorted(path for path in (REPOSITORY / "kim_driver_cpp").rglob("*") if path.suffix in (".cpp", ".hpp", ".cmake"))
SCRIPTS = sorted((REPOSITORY / "docker").glob("*.sh"))
PACKAGE = [*sorted((REPOSITORY / "src").rglob("*.py")), *sorted((REPOSITORY / "kim_driver_cpp").rglob("*.py"))]

ADVICE = re.compile(r"\bre-?install|\binstall\b[^.;:|]*\b(?:again|once more|anew)\b", re.IGNORECASE)
# Other programs' installers replace what is there: pip, conda, apt. In an empty folder nothing is.
OF_OTHERS = re.compile(
    r"\bconda install\b|\bpip install (?!it\b|the driver\b)|\{package\.installation\}|\{_installation\(package\)\}"
    r"|^\{name\} is installed there: reinstall it"
    r"|^Install (?:it|KIM-API|LAMMPS) again:$|^Choose a folder elsewhere, and install driver and models again:$"
)
# Commands follow these words; the tests of `kim-torchml doctor` compare them, --force included.
COMMANDS_FOLLOW = "{IN_FOLDER_OF_CLONE}"

# This command replaces a model of the same name.
REPLACING = "kim-torchml install"


def lacks_force(message: str) -> bool:
    """Return whether a message advises to install a driver or a model again in a way that leaves the old one."""
    is_advice = ADVICE.search(message) is not None and OF_OTHERS.search(message) is None
    replaces = "--force" in message or REPLACING in message or message.endswith(COMMANDS_FOLLOW)
    return is_advice and not replaces


def messages_of_python(text: str) -> Iterator[str]:
    """Yield all texts of a Python source but its docstrings; {names} stand for what is put in."""
    tree = ast.parse(text)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in ast.walk(node) if part is not node)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else ast.unparse(part) for part in node.values]
            yield "".join(re.sub(r"^f?['\"]|['\"]$", "", part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def messages_of_shim(text: str) -> Iterator[str]:
    """Yield the texts of each statement of C++, or of each command of CMake, as one."""
    without_comments = re.sub(r"^\s*(?://|#).*$", "", text, flags=re.MULTILINE)
    for statement in re.split(r"[;)]\s*\n", without_comments):
        yield "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', statement))


def messages_in(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path in PACKAGE:
        yield from messages_of_python(text)
    elif path in SHIM:
        yield from messages_of_shim(text)
    else:
        # A row of a table, or a paragraph.
        for paragraph in re.split(r"\n\s*\n|\n(?=\|)|\|\n", text):
            yield " ".join(paragraph.split())


@pytest.mark.parametrize(
    "path", [*DOCUMENTS, *SHIM, *SCRIPTS, *PACKAGE], ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_advice_names_force(path: Path):
    assert [message for message in messages_in(path) if lacks_force(message)] == []


@pytest.mark.parametrize(
    "message",
    [
        "it has another version; install the driver again",
        "then run kim-api-collections-management install user once more",
        "cannot be read: install the model again, or remove it",
        "| it is gone | reinstall the driver, or pip install it again |",
        "Install the model again, or remove it:",
        "install it anew",
    ],
)
def test_such_advice_is_found(message: str):
    assert lacks_force(message)


@pytest.mark.parametrize(
    "message",
    [
        "it has another version; install the driver again with --force",
        "run kim-api-collections-management install --force user ./My_Model once more",
        "run the same command again",
        "pip install torch again",
        "Install the driver again, {IN_FOLDER_OF_CLONE}",
    ],
)
def test_other_advice_is_not(message: str):
    assert not lacks_force(message)


def test_messages_are_found_in_each_kind_of_source():
    """In pieces, as they are written."""
    cpp = 'throw std::runtime_error("install " + driver() +\n    "; do it "\n    "again");\n'
    assert next(messages_of_shim(cpp)) == "install ; do it again"
    cmake = 'message(FATAL_ERROR "install the "\n  "driver again")\n'
    assert next(messages_of_shim(cmake)) == "install the driver again"
    python = '"""A docstring."""\nx = (\n    f"install {name} "\n    "again"\n)\ny = "other"\n'
    assert list(messages_of_python(python)) == ["install {name} again", "other"]
