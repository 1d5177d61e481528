# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network that turns descriptors into energies, as a TorchScript module, for the driver's kind `Descriptor`."""

import torch
from torch import Tensor, nn

from kim_torchml.descriptors import Normalisation


class SiliconNetwork(nn.Module):
    """Network that gives the energy of each silicon atom from its normalised descriptor.

    The energy of an atom without neighbours is 0.
    Source:
        J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
    """

    def __init__(self, normalisation: Normalisation, n_hidden: int = 30) -> None:
        """Make the network with random weights.

        Args:
            normalisation: Mean and standard deviation by which the network's inputs will have been normalised.
            n_hidden: Width of the two hidden layers.
        """
        super().__init__()
        # The normalised descriptor of an isolated particle, whose symmetry functions are all 0.
        zeros = torch.zeros(1, len(normalisation.mean), dtype=torch.float64)
        self.register_buffer("isolated", normalisation(zeros))
        self.layers = nn.Sequential(
            nn.Linear(zeros.shape[1], n_hidden),
            nn.SiLU(),
            nn.Linear(n_hidden, n_hidden),
            nn.SiLU(),
            nn.Linear(n_hidden, 1, bias=False),
        )

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return the particle energies.

        Args:
            descriptors: Normalised descriptors of the contributing particles, shape [contributing, width], float64.
        Returns:
            Energies with respect to isolated particles, shape [contributing], eV.
        """
        energies = self.layers(torch.cat([descriptors, self.isolated])).squeeze(1)
        return energies[:-1] - energies[-1]
