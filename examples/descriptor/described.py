# SPDX-License-Identifier: LGPL-2.1-or-later
"""Structures with their descriptors and the derivatives of these, computed once before training."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from configurations import Configuration, side_by_side
from torch import Tensor

from kim_torchml.descriptors import Descriptor, Neighbourhoods, Normalisation


@dataclass(frozen=True)
class Described:
    """A labelled structure, or several side by side, with the descriptors of its particles.

    Attributes:
        configuration: The structure, with edges up to the descriptor's cutoff.
        descriptors: Descriptors of the particles, shape [n, width].
        jacobian: Derivatives of the descriptor of the first particle of each edge with respect to
            the vector from it to the second, shape [edges, 3, width], 1/Å.
    """

    configuration: Configuration
    descriptors: Tensor
    jacobian: Tensor

    @property
    def energies(self) -> Tensor:
        """Energies per particle, shape [structures], eV."""
        return self.configuration.energies

    @property
    def forces(self) -> Tensor:
        """Forces, shape [n, 3], eV/Å."""
        return self.configuration.forces


def describe(configuration: Configuration, descriptor: Descriptor) -> Described:
    """Return a structure with its descriptors.

    Each edge gets its own copy of its second particle, which no other edge shares. The gradient of one
    column, summed over all centres, then holds the derivatives of that column for every edge separately.

    Args:
        configuration: The structure, with edges up to the descriptor's cutoff.
        descriptor: The descriptor, of one species.
    """
    first, second = configuration.edge_index
    n_particles = len(configuration.coordinates)
    ends = configuration.coordinates[second] + configuration.shifts
    coordinates = torch.cat([configuration.coordinates, ends]).requires_grad_()
    neighbourhoods = Neighbourhoods(
        coordinates=coordinates,
        species_codes=torch.zeros(len(coordinates), dtype=torch.int64),
        centres=torch.arange(n_particles),
        counts=torch.bincount(first, minlength=n_particles),
        neighbours=n_particles + torch.argsort(first, stable=True),
    )
    descriptors = descriptor(neighbourhoods)
    columns = [
        torch.autograd.grad(column, coordinates, retain_graph=True)[0][n_particles:] for column in descriptors.sum(0)
    ]
    return Described(configuration, descriptors.detach(), torch.stack(columns, 2))


def normalise(described: Described, normalisation: Normalisation) -> Described:
    """Return structures with normalised descriptors."""
    return Described(
        described.configuration,
        normalisation(described.descriptors),
        described.jacobian / normalisation.standard_deviation,
    )


def join(structures: Sequence[Described]) -> Described:
    """Return several structures side by side, in order; at least one."""
    return Described(
        side_by_side([structure.configuration for structure in structures]),
        torch.cat([structure.descriptors for structure in structures]),
        torch.cat([structure.jacobian for structure in structures]),
    )
