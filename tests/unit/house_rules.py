# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of the package's sources, which are read but not run: imports, names of classes, lengths."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "kim_torchml"

# What each folder may import from the package, apart from itself. A name stands for all modules below it.
MAY_IMPORT = {
    "tools": ("",),
    "driver": ("evaluation", "inputs", "engines", "model_files", "process", "errors"),
    "evaluation": ("inputs", "engines.contract", "engines.exchange", "model_files", "process", "errors"),
    "inputs": ("descriptors", "model_files", "errors"),
    "descriptors": ("model_files.plain_text", "errors"),
    "engines": ("process", "errors"),
    "model_files": ("errors",),
    "process": ("errors",),
    "errors": (),
}
# These modules start the command and give the version.
EXCEPTED = ("__init__", "__main__")
# The driver needs these packages. The others below are used where they are installed, for models that name them.
FOREIGN = ("numpy", "torch")
FOREIGN_OF = {
    "engines.torchscript.operators": ("torch_scatter", "torch_sparse"),
    # The standard library has tomllib from Python 3.11 on.
    "model_files.toml_parser": ("tomli",),
    # Where it is installed, ranks learn of each other's failures.
    "process.communicator": ("mpi4py",),
}

TOP = {"__init__.py", "__main__.py", "errors.py", "py.typed"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
# Only these folders differentiate: descriptors have derivatives of their own.
MAY_DIFFERENTIATE = ("engines", "descriptors")
DIFFERENTIATING = ("torch.autograd", "torch.func", "functorch")


@dataclass(frozen=True)
class Source:
    """A source file.

    Attributes:
        module: dotted name below the package, such as "inputs.graph".
        text: its content.
        is_package: whether it is a folder's __init__.py.
    """

    module: str
    text: str
    is_package: bool = False

    @property
    def folder(self) -> str:
        return self.module.partition(".")[0]

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def read_sources(package: Path) -> list[Source]:
    """Read all sources of the package."""
    sources = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        is_package = parts[-1] == "__init__" and len(parts) > 1
        sources.append(Source(".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package))
    return sources


def imports_of(source: Source) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of all imports, also inside functions, with the name of what is imported."""
    inside = [PACKAGE, *source.module.split(".")]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - (1 if source.is_package else 0)
            start = inside[: len(inside) - up] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            name = _imported_by_call(node)
            if name:
                yield node.lineno, name


def _imported_by_call(call: ast.Call) -> str:
    """Return what import_module() imports, as far as it is written out in the source; else an empty string."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    name, package = (
        _written_out(call.args[i] if len(call.args) > i else keywords.get(keyword))
        for i, keyword in enumerate(("name", "package"))
    )
    up = len(name) - len(name.lstrip("."))
    if up == 0:
        return name
    start = package.split(".")
    return ".".join([*start[: len(start) - up + 1], name[up:]])


def _written_out(node: ast.expr | None) -> str:
    """Return a string literal, or what a formatted string begins with."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_within(name: str, place: str) -> bool:
    return not place or name == place or name.startswith(f"{place}.")


def wrong_imports(source: Source, modules: set[str]) -> list[str]:
    """Return what a source imports against the rules.

    Args:
        source: The source.
        modules: Dotted names of the package's modules, to tell them from what is in them.
    """
    if source.module in EXCEPTED:
        return []
    if source.folder not in MAY_IMPORT:
        return [f"{source.module}, line 1: no rule says what {source.folder} may import"]
    found = []
    for line, name in imports_of(source):
        place = f"{source.module}, line {line}: imports {name}"
        first, _, rest = name.partition(".")
        if first == PACKAGE:
            if rest == "__version__":
                continue
            # "from kim_torchml.engines import X" imports the folder's __init__.py, unless X is a module.
            target = rest if rest in modules else rest.rpartition(".")[0]
            allowed = (source.folder, *MAY_IMPORT[source.folder])
            if not any(_is_within(target, each) for each in allowed):
                found.append(f"{place}; {source.folder} may import {', '.join(MAY_IMPORT[source.folder]) or 'nothing'}")
        elif first not in sys.stdlib_module_names and source.folder != "tools":
            more = [
                each for place_of, names in FOREIGN_OF.items() if _is_within(source.module, place_of) for each in names
            ]
            if first not in (*FOREIGN, *more):
                found.append(f"{place}; what the driver runs needs {' and '.join(FOREIGN)} alone")
    return found


def shared_class_names(sources: list[Source]) -> list[str]:
    """Return the public classes that have the name of another one."""
    places: dict[str, list[str]] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(source.module)
    return [f"{name}: {', '.join(modules)}" for name, modules in places.items() if len(modules) > 1]


def engines_business(source: Source) -> list[str]:
    """Return where a source differentiates or takes a program's lock, which engines alone do."""
    if source.folder in MAY_DIFFERENTIATE:
        return []
    found = {line: name for line, name in imports_of(source) if any(_is_within(name, each) for each in DIFFERENTIATING)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            is_lock_of_another = node.attr == "_lock" and ast.unparse(node.value) not in ("self", "cls")
            if is_lock_of_another or text in DIFFERENTIATING or text.endswith(("autograd.grad", ".backward")):
                found.setdefault(node.lineno, text)
    return [f"{source.module}, line {line}: {name}" for line, name in found.items()]


def too_long(source: Source) -> list[str]:
    """Return the file, and its functions, that are longer than allowed."""
    found = []
    lines = source.text.count("\n")
    if lines > LONGEST_FILE:
        found.append(f"{source.module}: {lines} lines")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                found.append(f"{source.module}, line {node.lineno}: {node.name} has {length} lines")
    return found


# Functions of torch that make tensors on the default device, or of the default dtype.
_MAKERS = {"arange", "as_tensor", "empty", "eye", "full", "linspace", "ones", "rand", "randn", "tensor", "zeros"}


def makers_without(source):
    """Return the calls in a source that make a tensor and do not say on which device and of which dtype."""
    return [
        ast.unparse(call)
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in _MAKERS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "torch"
        and not {"device", "dtype"} <= {keyword.arg for keyword in call.keywords}
    ]
