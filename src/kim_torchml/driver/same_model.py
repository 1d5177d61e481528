# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether all ranks compute one model in one way: otherwise they would be wrong together, or wait for ever."""

import numpy as np

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.communicator import Communicator


def check_same_way(communicator: Communicator, way: list[int], model_file: str) -> None:
    """Check that all ranks compute in one way; all of them must call this.

    Args:
        communicator: The ranks.
        way: Numbers that tell how this one does.
        model_file: Name of the model file.
    Raises:
        DriverError: If another rank's numbers are others.
    """
    if rank := _first_other(communicator, way):
        raise DriverError(
            f"all ranks must compute {model_file} in one way, got others on rank {rank} than on the first; install the "
            f"same model for all of them, and set the same variables ({settings.EDGES} above all)"
        )


def check_same_file(communicator: Communicator | None, digest: int, model_file: str) -> None:
    """Check that all ranks have one model file; all of them must call this.

    Args:
        communicator: The ranks; None for this one alone.
        digest: Number that tells the file from others.
        model_file: Its name.
    Raises:
        DriverError: If another rank has another file.
    """
    if communicator is not None and (rank := _first_other(communicator, [digest])):
        raise DriverError(
            f"all ranks must have the same {model_file}, got another on rank {rank} than on the first; install the "
            "same model for all of them"
        )


def _first_other(communicator: Communicator, numbers: list[int]) -> int:
    """Return the first rank whose numbers are not those of rank 0; 0 where all have these."""
    found = np.concatenate(communicator.gathered(np.array([numbers], dtype=np.int64)))
    return int((found != found[0]).any(axis=1).argmax())
