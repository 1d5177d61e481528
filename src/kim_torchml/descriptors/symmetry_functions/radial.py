# SPDX-License-Identifier: LGPL-2.1-or-later
"""The radial symmetry functions g1, g2 and g3 of one block of centres, and their gradient."""

from collections.abc import Sequence

import torch

from kim_torchml.descriptors.symmetry_functions.shells import Shells


class RadialFunctions:
    """Sums of Gaussians exp(-eta (r - Rs)^2), then of cosines cos(kappa r), each times the cutoff function."""

    def __init__(
        self,
        gaussians: Sequence[tuple[float, float]],
        cosines: Sequence[float],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Keep the parameters as tensors.

        Args:
            gaussians: Parameters (eta, Rs) of each Gaussian, 1/Å^2 and Å; eta = 0 makes it g1.
            cosines: Parameter kappa of each cosine, 1/Å.
            dtype: Data type of the coordinates.
            device: Device of the coordinates.
        """
        table = torch.tensor([*gaussians, *((kappa, 0.0) for kappa in cosines)], dtype=dtype, device=device).view(-1, 2)
        self._etas, self._shifts = table[: len(gaussians), :1], table[: len(gaussians), 1:]
        self._kappas = table[len(gaussians) :, :1]

    def values(self, shells: Shells) -> torch.Tensor:
        """Return each function's sum over the neighbours, shape [c, n_functions]."""
        distances = shells.distances[:, None]
        gaussians = torch.exp(-self._etas * (distances - self._shifts).square())
        terms = torch.cat([gaussians, torch.cos(self._kappas * distances)], dim=1)
        return torch.bmm(terms, shells.weights[:, :, None])[:, :, 0]

    def gradient(self, shells: Shells, value_gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the vectors, shape [c, k, 3].

        Args:
            shells: The neighbours.
            value_gradients: Gradient with respect to the values, shape [c, n_functions].
        """
        distances = shells.distances[:, None]
        offsets = distances - self._shifts
        gaussians = torch.exp(-self._etas * offsets.square())
        phases = self._kappas * distances
        terms = torch.cat([gaussians, torch.cos(phases)], dim=1)
        slopes = torch.cat([(-2.0 * self._etas) * offsets * gaussians, -self._kappas * torch.sin(phases)], dim=1)
        slopes += terms * shells.log_slopes[:, None]
        by_distance = torch.bmm(value_gradients[:, None], slopes)[:, 0] * shells.weights
        return (by_distance / shells.distances)[:, :, None] * shells.vectors
