# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types for those who import the package: the stub says what the compiled module has, and both marks are installed."""

import ast
import base64
import hashlib
import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "kim_torchml"
STUB = PACKAGE / "inputs" / "_neighbour_lists.pyi"
TREE = ast.parse(STUB.read_text())
CLASSES = [node for node in TREE.body if isinstance(node, ast.ClassDef)]
METHODS = [(each.name, node) for each in CLASSES for node in each.body if isinstance(node, ast.FunctionDef)]

MARKS = {"kim_torchml/py.typed", "kim_torchml/inputs/_neighbour_lists.pyi"}


@pytest.fixture
def compiled():
    """Return the compiled module."""
    reason = "the package's compiled part is not here (pip install . builds it)"
    return pytest.importorskip("kim_torchml.inputs._neighbour_lists", reason=reason)


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_the_stub_has_the_names_of_the_compiled_module(compiled):
    assert {node.name for node in CLASSES} == public(vars(compiled))
    for each in CLASSES:
        found = vars(getattr(compiled, each.name))
        assert {name for owner, node in METHODS if owner == each.name for name in public([node.name])} == public(found)


@pytest.mark.parametrize(("owner", "method"), METHODS, ids=lambda value: getattr(value, "name", value))
def test_arguments_are_those_of_the_compiled_module(compiled, owner, method):
    signature, *_ = getattr(getattr(compiled, owner), method.name).__doc__.splitlines()
    # pybind11 writes the signature as the first line of a docstring: name(self: Type, cutoff: Type) -> Type.
    assert re.findall(r"[(,] ?(\w+):", signature) == [argument.arg for argument in method.args.args]


def test_docstrings_are_those_of_the_compiled_module(compiled):
    """pybind11 puts the signature of a method before what its author wrote."""
    assert ast.get_docstring(TREE).startswith(compiled.__doc__)
    for each in CLASSES:
        assert ast.get_docstring(each) == getattr(compiled, each.name).__doc__
    for owner, method in METHODS:
        if method.name != "__init__":
            assert getattr(getattr(compiled, owner), method.name).__doc__.strip().endswith(ast.get_docstring(method))


def test_results_have_the_types_of_the_stub(compiled):
    lists = compiled.NeighbourLists([[0.0, 0, 0], [1.0, 0, 0]], [1, 0], [1, 1], [1, 0])
    counts, neighbours = lists.of_contributing(2.0)
    stages = lists.staged_edges(2.0, 2)
    assert isinstance(stages, list)
    folded = lists.folded_edges(2.0, [0, 0])
    found = {
        "of_contributing": f"tuple[{', '.join(f'npt.NDArray[np.{each.dtype}]' for each in (counts, neighbours))}]",
        "staged_edges": f"list[npt.NDArray[np.{stages[0].dtype}]]",
        "edges": f"tuple[{', '.join(f'npt.NDArray[np.{each.dtype}]' for each in lists.edges(2.0, 2))}]",
        "folded_edges": f"tuple[{', '.join(f'npt.NDArray[np.{each.dtype}]' for each in folded)}] | None",
        "reached": f"npt.NDArray[np.{lists.reached(2.0).dtype}_]",
        "closest_pair": f"tuple[{', '.join(type(each).__name__ for each in lists.closest_pair())}] | None",
        "most_neighbours": f"tuple[{', '.join(type(each).__name__ for each in lists.most_neighbours())}] | None",
    }
    said = {method.name: ast.unparse(method.returns) for _, method in METHODS if method.name != "__init__"}
    assert found == said


def test_git_has_both_marks():
    """What git ignores gets neither into a source distribution nor into a wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "src/kim_torchml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip(f"this is no clone: {listed.stderr.strip()}")
    assert {f"src/{name}" for name in MARKS} <= set(listed.stdout.splitlines())


def test_the_installed_distribution_has_both_marks():
    """The wheel held whatever is installed here."""
    try:
        files = importlib.metadata.files("kim-torchml") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("kim-torchml is not installed here")
    digests = {str(file): file.hash.value for file in files if file.hash}
    for path in PACKAGE.rglob("*.py"):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode().rstrip("=")
        if digests.get(f"kim_torchml/{path.relative_to(PACKAGE)}") != digest:
            pytest.skip("the distribution that is installed here was made from other sources")
    assert digests.keys() >= MARKS
