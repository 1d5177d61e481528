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
from kim_torchml.errors import DriverError, shortened
from kim_torchml.process.operator_packages import OPERATOR_PACKAGES, OperatorPackage

# Signature and function, in pure torch, of operators that need not come from their package: by namespace and name.
_STAND_INS: Mapping[str, Mapping[str, tuple[str, Callable[..., Any]]]] = {
    "torch_scatter": scatter.OPERATORS,
    "torch_sparse": sparse.OPERATORS,
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
        if namespace in OPERATOR_PACKAGES:
            wanted.setdefault(namespace, set()).add(operator)
    with _LOCK:
        for namespace, operators in sorted(wanted.items()):
            _provide(namespace, operators)


def _provide(namespace: str, operators: set[str]) -> None:
    """Provide operators of one package; the caller holds the lock."""
    missing = _unregistered(namespace, operators)
    if not missing:
        return
    package, stand_ins = OPERATOR_PACKAGES[namespace], _STAND_INS.get(namespace, {})
    if _use_package(namespace):
        module = _import_package(package)
        missing = _unregistered(namespace, missing)
        if missing:
            raise DriverError(
                f"the installed {package.module} ({module.__file__}) must provide "
                f"{_qualified(namespace, missing)}, which the model names, but does not; install "
                f"another version of {package.module}{', or uninstall it' if stand_ins else ''}"
            )
        return
    unknown = [operator for operator in missing if operator not in stand_ins]
    if unknown:
        raise DriverError(
            f"the model names {_qualified(namespace, unknown)}, for which kim-torchml has no "
            f"replacement, and the package {package.module} is not installed; install it: {_installation(package)}"
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
    module, stand_ins = OPERATOR_PACKAGES[namespace].module, _STAND_INS.get(namespace, {})
    if module in sys.modules:
        return sys.modules[module] is not None
    if len(_unregistered(namespace, stand_ins)) < len(stand_ins):
        return False
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:  # another finder hides the package
        return False
    return spec is not None and spec.origin is not None  # no origin: a folder of that name


def _installation(package: OperatorPackage) -> str:
    """Return the command that installs a package."""
    return f"python -m pip install --no-build-isolation {' '.join(package.requirements)}"


def _import_package(package: OperatorPackage) -> ModuleType:
    """Import an installed package."""
    try:
        return importlib.import_module(package.module)
    except (Exception, SystemExit) as error:  # a broken binary raises OSError, RuntimeError, ...
        otherwise = ", or uninstall it and kim-torchml will replace its operators" if package.has_stand_ins else ""
        raise DriverError(
            f"the model names operators of {package.module}, which is installed but cannot be imported "
            f"({type(error).__name__}: {shortened(str(error))}); reinstall it for torch {torch.__version__} "
            f"({_installation(package)}){otherwise}"
        ) from error


def _register(namespace: str, operators: Sequence[str]) -> None:
    """Register pure-torch operators in the namespace of a package that is not installed."""
    if not any(isinstance(finder, _RefusingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RefusingFinder())
    if namespace not in _LIBRARIES:
        _LIBRARIES[namespace] = torch.library.Library(namespace, "FRAGMENT")
    library = _LIBRARIES[namespace]
    for operator in operators:
        signature, function = _STAND_INS[namespace][operator]
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
