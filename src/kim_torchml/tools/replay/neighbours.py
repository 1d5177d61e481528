# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbour lists of particles that may be anywhere: a simulation that has failed can leave NaN, or atoms far away."""

import numpy as np
from scipy.spatial import cKDTree

# Å. Coordinates beyond it are clipped; the model sees from the coordinates as they are that these are no neighbours.
FARTHEST = 1e100


def neighbour_lists(coordinates: np.ndarray, cutoff: float) -> list[np.ndarray]:
    """Return each particle's neighbours within a cutoff, without periodicity: periodic images are particles already.

    Args:
        coordinates: Cartesian coordinates, shape [n, 3], Å. If one of them is not finite, there are no neighbours: the
            driver refuses such coordinates before it asks for any.
        cutoff: cutoff, Å.
    Returns:
        n arrays of int32.
    """
    n = len(coordinates)
    if n == 0 or not np.isfinite(coordinates).all():
        return [np.zeros(0, dtype=np.int32)] * n
    # Particles of a failed simulation may be so far apart that the squares of their distances overflow.
    within = np.clip(coordinates, -FARTHEST, FARTHEST)
    pairs = cKDTree(within).query_pairs(cutoff, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]])
    first, second = both[np.lexsort((both[:, 1], both[:, 0]))].T
    starts = np.searchsorted(first, np.arange(1, n))
    return [np.ascontiguousarray(part, dtype=np.int32) for part in np.split(second, starts)]
