# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virials in KIM's convention: the one place that knows their signs and the order of their entries."""

import numpy as np
import torch

# KIM's order of a symmetric tensor's entries: 11, 22, 33, 23, 31, 12.
_ROWS = [0, 1, 2, 1, 2, 0]
_COLUMNS = [0, 1, 2, 2, 0, 1]


def virial_of_forces(coordinates: np.ndarray, forces: np.ndarray) -> np.ndarray:
    """Return the partial virial of a configuration.

    V = -sum_i f_i (x) r_i over all particles, Voigt order xx, yy, zz, yz, xz, xy; the mean of the tensor and its
    transpose, which are equal where the energy does not change as all particles turn together.

    Args:
        coordinates: Cartesian coordinates of all particles, shape [n, 3], float64, Å.
        forces: Partial forces on all particles, shape [n, 3], float64, eV/Å.
    Returns:
        Virial, shape [6], eV.
    Source:
        KIM-API documentation, "Theory", partial virial.
    """
    tensor = forces.T @ coordinates
    virial: np.ndarray = -0.5 * (tensor + tensor.T)[_ROWS, _COLUMNS]
    return virial


def virial_of_edges(gradients: torch.Tensor, vectors: torch.Tensor) -> np.ndarray:
    """Return the partial virial as the sum of dE/dr (x) r over edges.

    Args:
        gradients: Derivative of the energy by each edge's vector, shape [E, 3], float64, eV/Å.
        vectors: Vectors of the edges, shape [E, 3], float64, Å.
    Returns:
        Virial, shape [6], eV, Voigt order xx, yy, zz, yz, xz, xy; of the tensor and its transpose the mean.
    Source:
        A. P. Thompson, S. J. Plimpton, W. Mattson, J. Chem. Phys. 131, 154107 (2009).
    """
    tensor = (gradients.T @ vectors).to("cpu").numpy()
    virial: np.ndarray = 0.5 * (tensor + tensor.T)[_ROWS, _COLUMNS]
    return virial


def virials_of_pairs(
    gradients: torch.Tensor, vectors: torch.Tensor, first: torch.Tensor, second: torch.Tensor, n: int
) -> torch.Tensor:
    """Return the partial particle virials: each pair's share dE/dr (x) r, half to each of its two ends.

    They add up to the partial virial. An end that is not contributing gets its half too: simulators add what such
    a particle got to the particle that it is an image of.

    Args:
        gradients: Derivative of the energy by each pair's vector, shape [p, 3], float64, eV/Å.
        vectors: From the first to the second particle of each pair, shape [p, 3], float64, Å.
        first: First particle of each pair, shape [p], int64.
        second: Second particle of each pair, shape [p], int64.
        n: Number of particles.
    Returns:
        Particle virials, shape [n, 6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
    Source:
        KIM-API documentation, "Theory", partial particle virial.
    """
    virials = gradients.new_zeros((n, 6))
    for entry, a, b in zip(virials.T, _ROWS, _COLUMNS, strict=True):
        # A quarter: half of the symmetric part to each end.
        shares = 0.25 * (gradients[:, a] * vectors[:, b] + gradients[:, b] * vectors[:, a])
        # On a CPU, torch adds numbers several times faster than rows of numbers.
        entry.index_add_(0, first, shares).index_add_(0, second, shares)
    return virials
