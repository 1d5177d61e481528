# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the shim calls. Everything that needs torch is behind `open_model`, which says so where torch is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kim_torchml.process import interpreter
from kim_torchml.process.communicator import FoundCommunicator, agreed, find_communicator
from kim_torchml.process.imports import import_needed_packages
from kim_torchml.process.rank import find_rank

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
        DriverError: If a file is missing or wrong, or torch or numpy cannot be imported.
    """
    with agreed(other_ranks().communicator):
        import_needed_packages()
        from kim_torchml.driver.model import Model
        from kim_torchml.driver.units import Units

        return Model(Path(folder), names, Units(energy, force))


def other_ranks() -> FoundCommunicator:
    """Return what is known of the ranks that compute with this one: with a communicator, all fail where one does.

    Raises:
        DriverError: See find_communicator.
    """
    return find_communicator(find_rank())
