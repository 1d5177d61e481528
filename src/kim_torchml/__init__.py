# SPDX-License-Identifier: LGPL-2.1-or-later
"""Interatomic potentials of PyTorch, as TorchScript or torch.export programs, for any KIM simulator."""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from kim_torchml.tools.model_check.check_model import check_model
    from kim_torchml.tools.package.save_model import save_model

__all__ = ["__version__", "check_model", "save_model"]

# Where names are that are imported when they are first asked for: the driver, which imports this package, needs none.
_PLACES = {
    "check_model": "kim_torchml.tools.model_check.check_model",
    "save_model": "kim_torchml.tools.package.save_model",
}


def __getattr__(name: str) -> Any:
    """Return a name of `__all__` that needs the tools."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """Return the names that can be asked for."""
    return sorted({*globals(), *__all__})
