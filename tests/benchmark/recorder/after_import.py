# SPDX-License-Identifier: LGPL-2.1-or-later
"""Wraps a module once it is imported, which is too early for whoever runs before it."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the watched module as everyone else does, and wraps it once it is there."""

    def __init__(self, watched: str, wrap: Callable[[ModuleType], None]) -> None:
        self._watched, self._wrap = watched, wrap

    def find_spec(self, name, path, target=None):
        if name != self._watched:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module) -> None:
            execute(module)
            self._wrap(module)

        spec.loader.exec_module = exec_module
        return spec


def wrap_after_import(watched: str, wrap: Callable[[ModuleType], None]) -> None:
    """Call a function with a module of this name once it has been imported."""
    sys.meta_path.insert(0, _Finder(watched, wrap))
