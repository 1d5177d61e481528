# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kind none: the model gets coordinates and neighbour lists.

Arguments: species [n], coordinates [n, 3], n_neighbours [contributing] int32, neighbours [sum] int32,
contributing [n] (1 = contributing).
"""

import numpy as np
import torch

from kim_torchml.inputs.base import SPECIES, InputKind, ModelInputs, Particles, leaf, to_tensor
from kim_torchml.inputs.signature import Argument
from kim_torchml.model_files.description import KindFormat


class RawInputs(InputKind):
    """Such models index particles 0 to contributing - 1, so contributing particles are put first."""

    file_format = KindFormat(n_inputs=5)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Species, coordinates, neighbour lists one after the other, and which particles contribute."""
        return (
            Argument(SPECIES, ("n",)),
            Argument("coordinates", ("n", 3), None),
            Argument("n_neighbours", ("contributing",), torch.int32),
            Argument("neighbours", ("neighbours",), torch.int32),
            Argument("contributing", ("n",)),
        )

    def build(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Return the model's inputs."""
        counts, neighbours = particles.neighbour_lists(self.cutoff)
        n_contributing = len(counts)
        order = None
        coordinates, codes = particles.coordinates, particles.species_codes
        if not particles.contributing[:n_contributing].all():
            order = np.concatenate([particles.own, particles.images])
            row_of_particle = np.empty(len(order), dtype=np.int32)
            row_of_particle[order] = np.arange(len(order), dtype=np.int32)
            coordinates, codes = coordinates[order], codes[order]
            neighbours = row_of_particle[neighbours]
        rows = leaf(coordinates, dtype, device)
        is_contributing = np.zeros(len(particles), dtype=np.int64)
        is_contributing[:n_contributing] = 1
        arguments = (
            self.species(codes, device),
            rows,
            to_tensor(counts, device),
            to_tensor(neighbours, device),
            to_tensor(is_contributing, device),
        )
        particle_of_row = None if order is None else to_tensor(order, device)
        return ModelInputs(arguments, rows, len(rows), slice(0, n_contributing), particle_of_row, len(neighbours))
