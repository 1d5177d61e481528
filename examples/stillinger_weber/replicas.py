# SPDX-License-Identifier: LGPL-2.1-or-later
"""Periodic structures as a simulator hands them to KIM: explicit images and neighbour lists."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray


@dataclass(frozen=True)
class Replicas:
    """A structure with its images, contributing particles first.

    Attributes:
        coordinates: Cartesian coordinates, shape [n, 3], Å.
        atom: The atom that each particle is, or is an image of, shape [n].
        n_neighbours: Number of neighbours of each contributing particle, shape [contributing].
        neighbours: Their neighbours, list after list, shape [sum of n_neighbours].
    """

    coordinates: NDArray[np.float64]
    atom: NDArray[np.int64]
    n_neighbours: NDArray[np.int32]
    neighbours: NDArray[np.int32]


def replicas(atoms: Atoms, cutoff: float) -> Replicas:
    """Return the particles and full neighbour lists of a structure.

    Args:
        atoms: The structure, periodic or not.
        cutoff: Largest distance of a neighbour, Å.
    Returns:
        The atoms as contributing particles, then every image that one of them reaches.
    """
    first, second, shift = neighbor_list("ijS", atoms, cutoff)
    order = np.argsort(first, kind="stable")
    first, second, shift = first[order], second[order], shift[order]
    home = np.column_stack([np.arange(len(atoms)), np.zeros((len(atoms), 3), dtype=int)])
    seen = np.column_stack([second, shift])
    images = np.unique(seen[np.any(shift != 0, axis=1)], axis=0)
    particles = np.concatenate([home, images])
    number = {tuple(row): index for index, row in enumerate(particles.tolist())}
    return Replicas(
        coordinates=atoms.positions[particles[:, 0]] + particles[:, 1:] @ atoms.cell.array,
        atom=particles[:, 0],
        n_neighbours=np.bincount(first, minlength=len(atoms)).astype(np.int32),
        neighbours=np.array([number[tuple(row)] for row in seen.tolist()], dtype=np.int32),
    )
