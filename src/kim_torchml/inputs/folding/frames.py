# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a list has all images in a frame, as simulators make it: between two limits along each cell vector."""

import itertools
from collections.abc import Iterator

import numpy as np

from kim_torchml.inputs.folding.rows import ParticleList, Rows

# Cell vectors are sums of the lattice's vectors, each at most so many times.
_MOST_TIMES = 1
# A particle is inside a frame, or at a face of it up to so many tolerances: faces are where the outermost ones are.
_AT_FACE = 10.0


def is_framed(particles: ParticleList, rows: Rows) -> bool:
    """Return whether a list has all images in a frame, for some cell of the lattice.

    Args:
        particles: The configuration.
        rows: Its rows, where all images have an owner.
    """
    return framing_cell(particles, rows.lattice) is not None


def framing_cell(particles: ParticleList, lattice: np.ndarray) -> np.ndarray | None:
    """Return a cell of a lattice [d, 3] in which a list is a frame, in terms of its vectors, shape [d, d]; or None."""
    return next((cell for cell in _cells(len(lattice)) if is_frame_of(particles, cell @ lattice)), None)


def _cells(rank: int) -> Iterator[np.ndarray]:
    """Yield the cells of a lattice in terms of its vectors, [d, d], those with short vectors first."""
    every = [np.array(each) for each in itertools.product(range(_MOST_TIMES, -_MOST_TIMES - 1, -1), repeat=rank)]
    # A vector and its opposite have the same faces.
    half = [each for each in every if tuple(each) > tuple(-each)]
    half.sort(key=lambda each: int(np.abs(each).sum()))
    for chosen in itertools.combinations(half, rank) if rank else ():
        cell = np.array(chosen, dtype=np.float64)
        if round(abs(np.linalg.det(cell))) == 1:
            yield cell


def is_frame_of(particles: ParticleList, vectors: np.ndarray) -> bool:
    """Return whether a list has all images in a frame of a cell, shape [d, 3], Å."""
    inverse = np.linalg.pinv(vectors)
    margins = _AT_FACE * particles.tolerance * np.abs(inverse).sum(axis=0)
    n_predicted = np.ones(len(particles.own))
    for direction, margin in zip(inverse.T, margins, strict=True):
        listed = particles.coordinates @ direction
        own = listed[particles.own]
        low, high = listed.min() - margin, listed.max() + margin
        # Of each contributing particle, so many images are inside along this vector, itself among them.
        n_predicted *= np.floor(high - own) - np.ceil(low - own) + 1.0
    return int(n_predicted.sum()) == len(particles)
