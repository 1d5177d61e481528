# SPDX-License-Identifier: LGPL-2.1-or-later
"""A structure as KIM's particles: the atoms contribute; images of them within reach, which do not, surround them."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kim_torchml.tools.kim_host.structures import Floats, Structure

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Particles:
    """Particles as KIM wants them.

    Attributes:
        coordinates: Shape [n, 3], Å.
        codes: The model's species codes, shape [n].
        contributing: Shape [n], 1 = contributing.
        owners: The atom that each particle is, or is an image of; shape [n].
    """

    coordinates: Floats
    codes: Integers
    contributing: Integers
    owners: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_atoms(self) -> int:
        """Number of contributing particles."""
        return int(self.contributing.sum())


def particles_of(structure: Structure, codes: Mapping[str, int], reach: float) -> Particles:
    """Return the atoms, then those of their periodic images that are within reach of an atom.

    Args:
        structure: At least one atom.
        codes: The model's code of each species.
        reach: The model's influence distance, Å.
    """
    n = len(structure)
    owners, images = _images(structure, reach)
    species = np.array([codes[name] for name in structure.species], dtype=np.int32)
    return Particles(
        np.concatenate([structure.positions, images]),
        np.concatenate([species, species[owners]]),
        np.concatenate([np.ones(n, dtype=np.int32), np.zeros(len(owners), dtype=np.int32)]),
        np.concatenate([np.arange(n), owners]),
    )


def _images(structure: Structure, reach: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the images within reach (Å) of an atom: the atom that each is an image of, and positions [k, 3]."""
    owners = [np.zeros(0, dtype=np.int64)]
    images = [np.zeros((0, 3))]
    for shift in itertools.product(*_shifts(structure, reach)):
        if shift == (0, 0, 0):
            continue
        shifted = structure.positions + np.array(shift) @ structure.cell
        distances = np.linalg.norm(shifted[:, None, :] - structure.positions[None, :, :], axis=2)
        near = np.flatnonzero(distances.min(axis=1) <= reach)
        owners.append(near)
        images.append(shifted[near])
    return np.concatenate(owners), np.concatenate(images)


def _shifts(structure: Structure, reach: float) -> list[range]:
    """Return, by vector of the box, the shifts by which images can come within reach, in boxes."""
    ranges = []
    for axis in range(3):
        if not structure.periodic[axis]:
            ranges.append(range(1))
            continue
        # Its norm is one over the height of the box above the plane of the other two. Atoms may lie outside the box.
        reciprocal = np.linalg.inv(structure.cell)[:, axis]
        spread = float(np.ptp(structure.positions @ reciprocal))
        count = int(np.ceil(reach * float(np.linalg.norm(reciprocal)) + spread))
        ranges.append(range(-count, count + 1))
    return ranges
