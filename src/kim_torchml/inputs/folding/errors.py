# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why a configuration cannot be folded."""

import numpy as np

from kim_torchml.errors import DriverError
from kim_torchml.inputs.folding.completeness import MissingImage
from kim_torchml.inputs.folding.rows import Rows

# What helps where several lattices explain the images of a perfect crystal.
DISPLACE = "displace the atoms by 1e-3 Å at random"


class FoldingRefusedError(DriverError):
    """The owners of images are not there, or not proven; nothing is computed with owners that may be wrong."""

    def __init__(self, reason: str, remedy: str = "", is_staged_right: bool = True) -> None:
        """Say what was expected and found, and what to do.

        Args:
            reason: What was expected and found.
            remedy: What to do; nothing by default.
            is_staged_right: Whether staged edges are a remedy as well.
        """
        staged = ["set KIM_TORCHML_EDGES=staged, which needs no owners"] if is_staged_right else []
        super().__init__(f"{reason}; {', or '.join([remedy] * bool(remedy) + staged)}")


class AmbiguousOwnersError(FoldingRefusedError):
    """Owners that explain all images are there, but others could be right as well."""


class MissingImageError(FoldingRefusedError):
    """Owners that explain all images are there, but an image that their lattice predicts is not.

    Attributes:
        missing: that image.
        rows: the rows.
    """

    def __init__(self, reason: str, missing: MissingImage, rows: Rows) -> None:
        """Keep what was found."""
        super().__init__(reason, "move the atoms into the cell if some are outside of it")
        self.missing, self.rows = missing, rows


def too_far_error(particle: int, coordinates: np.ndarray) -> FoldingRefusedError:
    """Return what to raise for a particle (`ParticleList.farthest`) that is too far from the origin, or at no number.

    Args:
        particle: Its number.
        coordinates: Coordinates of all particles, shape [n, 3], Å.
    """
    return FoldingRefusedError(
        "coordinates must be numbers and within 2.5e5 Å of the origin, for images to be told apart, got "
        f"{place_of(particle, coordinates)}",
        "move the atoms towards the origin",
    )


def place_of(particle: int, coordinates: np.ndarray) -> str:
    """Return a particle and where it is, for messages.

    Args:
        particle: Its number.
        coordinates: Coordinates of all particles, shape [n, 3], Å.
    """
    return f"particle {particle} at ({', '.join(f'{each:.6g}' for each in coordinates[particle])}) Å"
