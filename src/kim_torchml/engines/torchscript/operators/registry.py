# SPDX-License-Identifier: LGPL-2.1-or-later
"""Provide operators by their qualified names: from the real package, else from pure torch."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from kim_torchml.engines.torchscript.operators import scatter, sparse
from kim_torchml.errors import DriverError

_IMPLEMENTED: Mapping[str, Mapping[str, tuple[str, Callable[..., Any]]]] = {
    "torch_scatter": scatter.OPERATORS,
    "torch_sparse": sparse.OPERATORS,
}

# The registrations last as long as these objects, which is as long as the process.
_LIBRARIES: dict[str, Any] = {}
_LOCK = threading.Lock()


def provide_operators(names: Iterable[str]) -> None:
    """Make the named torch_scatter and torch_sparse operators available to torch.jit.load.

    For each of the two packages: if it can be imported it is imported, and nothing is registered in
    its namespace. Otherwise the named operators are registered in pure torch, and from then on this
    process refuses to import the package, because the real one aborts the process when it registers
    the same operators again. Operators that exist already are left alone, so calls may repeat.

    Args:
        names: Qualified names such as "torch_scatter::segment_sum_csr". Other namespaces than these
            two are ignored.
    Raises:
        DriverError: If an installed package cannot be imported or lacks a named operator, or if the
            package is not installed and there is no replacement for the operator.
    """
    wanted: dict[str, set[str]] = {}
    for name in names:
        package, _, operator = name.partition("::")
        if package in _IMPLEMENTED:
            wanted.setdefault(package, set()).add(operator)
    with _LOCK:
        for package, operators in sorted(wanted.items()):
            _provide(package, operators)


def _provide(package: str, operators: set[str]) -> None:
    """Provide operators of one package; the caller holds the lock."""
    missing = _unregistered(package, operators)
    if not missing:
        return
    if _use_package(package):
        module = _import_package(package)
        missing = _unregistered(package, missing)
        if missing:
            raise DriverError(
                f"the installed {package} ({module.__file__}) must provide "
                f"{_qualified(package, missing)}, which the model names, but does not; install "
                f"another version of {package}, or uninstall it"
            )
        return
    unknown = [operator for operator in missing if operator not in _IMPLEMENTED[package]]
    if unknown:
        raise DriverError(
            f"the model names {_qualified(package, unknown)}, for which kim-torchml has no "
            f"replacement, and the package {package} is not installed; install it: "
            f"python -m pip install --no-build-isolation torch-scatter torch-sparse"
        )
    _register(package, missing)


def _unregistered(package: str, operators: Iterable[str]) -> list[str]:
    """Return those of the operators that torch does not know yet, sorted."""
    namespace = getattr(torch.ops, package)
    return sorted(operator for operator in operators if not hasattr(namespace, operator))


def _qualified(package: str, operators: Iterable[str]) -> str:
    """Return the qualified names as one text."""
    return ", ".join(f"{package}::{operator}" for operator in operators)


def _use_package(package: str) -> bool:
    """Return whether the operators have to come from the real package.

    Not so if someone, this module included, registered operators in its namespace without it:
    importing it would abort the process.
    """
    if package in sys.modules:
        return sys.modules[package] is not None
    implemented = _IMPLEMENTED[package]
    if len(_unregistered(package, implemented)) < len(implemented):
        return False
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:  # another finder hides the package
        return False
    return spec is not None and spec.origin is not None  # no origin: a folder of that name


def _import_package(package: str) -> ModuleType:
    """Import an installed package."""
    try:
        return importlib.import_module(package)
    except Exception as error:  # a broken binary raises OSError, RuntimeError, ...
        raise DriverError(
            f"the model names operators of {package}, which is installed but cannot be imported "
            f"({type(error).__name__}: {error}); reinstall it for torch {torch.__version__}, or "
            f"uninstall it and kim-torchml will replace its operators"
        ) from error


def _register(package: str, operators: Sequence[str]) -> None:
    """Register pure-torch operators in the namespace of a package that is not installed."""
    if not any(isinstance(finder, _RefusingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RefusingFinder())
    if package not in _LIBRARIES:
        _LIBRARIES[package] = torch.library.Library(package, "FRAGMENT")
    library = _LIBRARIES[package]
    for operator in operators:
        signature, function = _IMPLEMENTED[package][operator]
        # CONSERVATIVE, as in the packages: `out` is written although the schema does not say so.
        library.define(operator + signature, alias_analysis="CONSERVATIVE")
        library.impl(operator, function, "CompositeImplicitAutograd")


class _RefusingFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder, and loader, that refuses to import a package whose operators were replaced."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim the replaced packages; only loading one, not looking for it, is an error."""
        if fullname in _LIBRARIES:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Refuse to load a replaced package."""
        package = module.__name__
        raise ImportError(
            f"{package} cannot be imported in this process any more: kim_torchml did not find it "
            f"when a model named its operators, and registered them in pure torch; importing the "
            f"real {package} over them would abort the process; install {package}, and import it "
            f"before the model is loaded",
            name=package,
        )
