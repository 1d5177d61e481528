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
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from kim_torchml.engines.torchscript.operators import scatter, sparse
from kim_torchml.errors import DriverError, shortened


@dataclass(frozen=True)
class _Package:
    """A package that operators come from.

    Attributes:
        module: name that it is imported by.
        requirement: what to give to pip to install it.
        replacements: signature and function, in pure torch, of operators that need not come from it, by name.
    """

    module: str
    requirement: str
    replacements: Mapping[str, tuple[str, Callable[..., Any]]]

    @property
    def installation(self) -> str:
        """The command that installs the package."""
        return f"python -m pip install --no-build-isolation {self.requirement}"


# The packages by the namespaces of their operators.
_PACKAGES = {
    "torch_scatter": _Package("torch_scatter", "torch-scatter", scatter.OPERATORS),
    "torch_sparse": _Package("torch_sparse", "torch-scatter torch-sparse", sparse.OPERATORS),
    "torch_cluster": _Package("torch_cluster", "torch-cluster", {}),
    "torch_spline_conv": _Package("torch_spline_conv", "torch-spline-conv", {}),
    "pyg": _Package("pyg_lib", "git+https://github.com/pyg-team/pyg-lib.git", {}),
}

# The registrations last as long as these objects, which is as long as the process.
_LIBRARIES: dict[str, Any] = {}
_LOCK = threading.Lock()


def provide_operators(names: Iterable[str]) -> None:
    """Make the named operators of packages available to torch.jit.load.

    If a package can be imported it is imported, and nothing is registered in its namespace. Where torch_scatter or
    torch_sparse cannot, the named operators are registered in pure torch, and from then on this process refuses to
    import the package, because the real one aborts the process when it registers the same operators again. Operators
    that exist already are left alone, so calls may repeat.

    Args:
        names: Qualified names such as "torch_scatter::segment_sum_csr". Namespaces of no known package are ignored.
    Raises:
        DriverError: If an installed package cannot be imported or lacks a named operator, or if the
            package is not installed and there is no replacement for the operator.
    """
    wanted: dict[str, set[str]] = {}
    for name in names:
        namespace, _, operator = name.partition("::")
        if namespace in _PACKAGES:
            wanted.setdefault(namespace, set()).add(operator)
    with _LOCK:
        for namespace, operators in sorted(wanted.items()):
            _provide(namespace, operators)


def _provide(namespace: str, operators: set[str]) -> None:
    """Provide operators of one package; the caller holds the lock."""
    missing = _unregistered(namespace, operators)
    if not missing:
        return
    package = _PACKAGES[namespace]
    if _use_package(namespace):
        module = _import_package(package)
        missing = _unregistered(namespace, missing)
        if missing:
            raise DriverError(
                f"the installed {package.module} ({module.__file__}) must provide "
                f"{_qualified(namespace, missing)}, which the model names, but does not; install "
                f"another version of {package.module}{', or uninstall it' if package.replacements else ''}"
            )
        return
    unknown = [operator for operator in missing if operator not in package.replacements]
    if unknown:
        raise DriverError(
            f"the model names {_qualified(namespace, unknown)}, for which kim-torchml has no "
            f"replacement, and the package {package.module} is not installed; install it: {package.installation}"
        )
    _register(namespace, missing)


def _unregistered(namespace: str, operators: Iterable[str]) -> list[str]:
    """Return those of the operators that torch does not know yet, sorted."""
    known = getattr(torch.ops, namespace)
    return sorted(operator for operator in operators if not hasattr(known, operator))


def _qualified(namespace: str, operators: Iterable[str]) -> str:
    """Return the qualified names as one text."""
    return ", ".join(f"{namespace}::{operator}" for operator in operators)


def _use_package(namespace: str) -> bool:
    """Return whether the operators have to come from the real package.

    Not so if someone, this module included, registered operators in its namespace without it:
    importing it would abort the process.
    """
    package = _PACKAGES[namespace]
    if package.module in sys.modules:
        return sys.modules[package.module] is not None
    if len(_unregistered(namespace, package.replacements)) < len(package.replacements):
        return False
    try:
        spec = importlib.util.find_spec(package.module)
    except ImportError:  # another finder hides the package
        return False
    return spec is not None and spec.origin is not None  # no origin: a folder of that name


def _import_package(package: _Package) -> ModuleType:
    """Import an installed package."""
    try:
        return importlib.import_module(package.module)
    except Exception as error:  # a broken binary raises OSError, RuntimeError, ...
        otherwise = ", or uninstall it and kim-torchml will replace its operators" if package.replacements else ""
        raise DriverError(
            f"the model names operators of {package.module}, which is installed but cannot be imported "
            f"({type(error).__name__}: {shortened(str(error))}); reinstall it for torch {torch.__version__} "
            f"({package.installation}){otherwise}"
        ) from error


def _register(namespace: str, operators: Sequence[str]) -> None:
    """Register pure-torch operators in the namespace of a package that is not installed."""
    if not any(isinstance(finder, _RefusingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RefusingFinder())
    if namespace not in _LIBRARIES:
        _LIBRARIES[namespace] = torch.library.Library(namespace, "FRAGMENT")
    library = _LIBRARIES[namespace]
    for operator in operators:
        signature, function = _PACKAGES[namespace].replacements[operator]
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
