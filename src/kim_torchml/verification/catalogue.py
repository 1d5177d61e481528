# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the checks are called and do, read from their source: to import them takes ase and kimpy."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).with_name("checks")
# Of `Check` (checks/base.py), as far as they are given by position.
_FIELDS = ("name", "description", "run", "grading")


@dataclass(frozen=True)
class Entry:
    """A check; see Check.

    Attributes:
        name: Such as forces-numerical-derivative.
        grading: "A-F" or "P/F".
        description: One sentence.
    """

    name: str
    grading: str
    description: str


def catalogue() -> list[Entry]:
    """Return all checks, in the order of the report."""
    constants = dict(_strings(_parse("base")))
    return [_entry(_parse(module), constants) for module in _modules(_parse("__init__"))]


def _parse(module: str) -> ast.Module:
    return ast.parse((_FOLDER / f"{module}.py").read_text(encoding="utf-8"))


def _modules(tree: ast.Module) -> Iterator[str]:
    """Yield the names of modules whose `CHECK` a module mentions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "CHECK" and isinstance(node.value, ast.Name):
            yield node.value.id


def _strings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield names and values of a module's constants."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield ast.unparse(node.targets[0]), str(node.value.value)


def _entry(tree: ast.Module, constants: dict[str, str]) -> Entry:
    """Return what the one call of `Check` in a module says."""
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Check")
    given = dict(zip(_FIELDS, call.args, strict=False)) | {str(word.arg): word.value for word in call.keywords}
    name, description = (str(ast.literal_eval(given[field])) for field in ("name", "description"))
    grading = constants[ast.unparse(given["grading"])] if "grading" in given else constants["PASS_FAIL"]
    return Entry(name, grading, description)
