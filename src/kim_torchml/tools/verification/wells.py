# SPDX-License-Identifier: LGPL-2.1-or-later
"""The distance of atoms at which an energy is least, so that they interact and nothing overflows."""

from collections.abc import Callable

import numpy as np

# Where the energy per atom is higher by this than that of atoms far apart, eV, is the wall: the search ends there.
WALL = 2.0
# A minimum counts only if the energy is higher at this many distances on its near side.
RISING = 2
# Wells that are shallower than this, relative to the greatest change of the energy, are rounding.
SHALLOW = 1e-4
# Of several minima, the outermost is taken whose depth is at least this part of the deepest one's: metals have shallow
# minima far out, trained models deep ones at distances where they were never trained.
DEEP = 0.5
# If there is no minimum, atoms are put where the energy has changed by this, eV per atom.
INTERACTING = 0.1


def lowest(
    energy: Callable[[float], float], distances: np.ndarray, otherwise: float, failure: type[Exception]
) -> float:
    """Return a distance at which the energy per atom has a minimum or, if it has none, at which atoms interact.

    A model that only repels has no minimum, nor has one that lets atoms collapse.

    Args:
        energy: function that returns the energy per atom at a distance, eV.
        distances: distances to try, falling because dense structures take longest, Å.
        otherwise: distance to return if the energy does not depend on the distance, or is never known, Å.
        failure: what the function raises where the model cannot compute the energy.
    """
    energies = _down_to_the_wall(energy, distances, failure)
    known = np.isfinite(energies)
    if not known.any():
        return otherwise
    # The greatest distance that the model computes stands for atoms far apart.
    changes = energies - energies[known][0]
    greatest = float(np.abs(changes[known]).max())
    wells = [index for index in range(1, len(changes) - RISING) if _is_well(changes, index, min(greatest, WALL))]
    if wells:
        deepest = min(float(changes[index]) for index in wells)
        return _vertex(distances, changes, next(index for index in wells if changes[index] <= DEEP * deepest))
    if greatest == 0.0:
        return otherwise
    return float(distances[int(np.argmax(known & (np.abs(changes) >= min(INTERACTING, greatest))))])


def _down_to_the_wall(energy: Callable[[float], float], distances: np.ndarray, failure: type[Exception]) -> np.ndarray:
    """Return the energies as far as the wall; they are infinite where the model fails."""
    energies: list[float] = []
    for distance in distances:
        try:
            energies.append(energy(float(distance)))
        except failure:
            # The structure is denser than the model's tables go, or the model does not combine these species.
            energies.append(np.inf)
        first = next((value for value in energies if np.isfinite(value)), np.inf)
        if min(energies[-RISING:]) > first + WALL:
            break
    return np.array(energies)


def _is_well(changes: np.ndarray, index: int, scale: float) -> bool:
    """Return whether the energy is lower than at the distances on both sides, and than that of atoms far apart."""
    here = changes[index]
    nearer = changes[index + 1 : index + 1 + RISING]
    return bool(here < changes[index - 1] and (here < nearer).all() and here < -SHALLOW * scale)


def _vertex(distances: np.ndarray, energies: np.ndarray, index: int) -> float:
    """Return the vertex of the parabola through a minimum and the two points beside it."""
    farther, here, nearer = energies[index - 1 : index + 2]
    if not np.isfinite([farther, here, nearer]).all():
        return float(distances[index])
    offset = 0.5 * (farther - nearer) / (farther - 2.0 * here + nearer)
    return float(distances[index] + offset * (distances[index + 1] - distances[index]))
