# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's particles, and a structure as such: its atoms contribute, their periodic images within reach do not."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kim_torchml.tools.kim_host.structure import Floats, Structure

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class KimParticles:
    """Particles as KIM wants them.

    Attributes:
        coordinates: Cartesian coordinates, shape [n, 3], Å.
        codes: species codes as the model numbers them, shape [n].
        contributing: 1 for contributing particles, otherwise 0; shape [n].
    """

    coordinates: Floats
    codes: Integers
    contributing: Integers

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class AtomsAndImages(KimParticles):
    """The atoms of a structure, which contribute, and images of them, which do not.

    Attributes:
        owners: index of the atom that each particle is, or is an image of; shape [n].
    """

    owners: NDArray[np.int64]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.contributing.sum())


def particles_of(structure: Structure, codes: Mapping[str, int], reach: float) -> AtomsAndImages:
    """Return the atoms, then those of their periodic images that are within reach of an atom.

    Args:
        structure: at least one atom.
        codes: the model's code of each species.
        reach: influence distance of the model, Å.
    """
    n = len(structure)
    owners, images = _images(structure, reach)
    species = np.array([codes[name] for name in structure.species], dtype=np.int32)
    return AtomsAndImages(
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
    """Return, for each vector of the box, the whole numbers of boxes by which an image within reach can be shifted."""
    ranges = []
    for axis in range(3):
        if not structure.periodic[axis]:
            ranges.append(range(1))
            continue
        # The norm of a reciprocal vector is one over the height of the box above the plane of the other two vectors.
        reciprocal = np.linalg.inv(structure.cell)[:, axis]
        # Atoms may lie outside the box.
        spread = float(np.ptp(structure.positions @ reciprocal))
        count = int(np.ceil(reach * float(np.linalg.norm(reciprocal)) + spread))
        ranges.append(range(-count, count + 1))
    return ranges
