# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the shim calls. Everything that needs torch is behind `open_model`, which says so where torch is missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kim_torchml.errors import DriverError
from kim_torchml.process import interpreter
from kim_torchml.process.signal_handlers import signal_handlers_kept

if TYPE_CHECKING:
    from kim_torchml.driver.model import Model


def own_this_process() -> None:
    """Note that the driver started Python: then process-wide settings of torch are its to make."""
    interpreter.is_ours = True


def open_model(folder: str, names: Sequence[str], energy: float = 1.0, force: float = 1.0) -> Model:
    """Open a model.

    Args:
        folder: Where KIM has put its files, for as long as this call lasts.
        names: Their names.
        energy: One eV in the simulator's unit of energy.
        force: One eV/Å in the simulator's unit of energy per unit of length.
    Returns:
        The model, loaded and not yet probed.
    Raises:
        DriverError: If a file is missing or wrong, or torch cannot be imported.
    """
    _import_torch()
    from kim_torchml.driver.model import Model
    from kim_torchml.driver.units import Units

    return Model(Path(folder), names, Units(energy, force))


def _import_torch() -> None:
    try:
        with signal_handlers_kept():
            importlib.import_module("torch")
    except (ImportError, OSError) as error:
        raise DriverError(
            f"torch cannot be imported ({error}) in the Python environment of this process ({sys.prefix}); install "
            "it there, or name the python of an environment that has it in KIM_TORCHML_PYTHON (where the simulator "
            "is itself a Python program, run it in such an environment)"
        ) from error
