# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why a configuration cannot be folded."""

import numpy as np

from kim_torchml.errors import DriverError


class FoldingRefusedError(DriverError):
    """The owners of images are not there, or not proven; nothing is computed with owners that may be wrong."""

    def __init__(self, reason: str, remedy: str = "displace the atoms by 1e-3 Å at random") -> None:
        """Say what was expected and found, and what to do."""
        super().__init__(f"{reason}; {remedy}, or set KIM_TORCHML_EDGES=staged, which needs no owners")


class AmbiguousOwnersError(FoldingRefusedError):
    """Owners that explain all images are there, but others could be right as well."""


def place_of(particle: int, coordinates: np.ndarray) -> str:
    """Return a particle and where it is, for messages.

    Args:
        particle: Its number.
        coordinates: Coordinates of all particles, shape [n, 3], Å.
    """
    return f"particle {particle} at ({', '.join(f'{each:.6g}' for each in coordinates[particle])}) Å"
