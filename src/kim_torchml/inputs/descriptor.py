# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kind descriptor: the model gets one row of numbers per contributing particle.

Arguments: descriptors [contributing, width].
"""

import numpy as np
import torch

from kim_torchml.descriptors import Neighbourhoods, read_descriptor
from kim_torchml.errors import DriverError
from kim_torchml.inputs.base import (
    ModelInputs,
    PairInputs,
    PairKind,
    Particles,
    leaf,
    rows_that_contribute,
    to_tensor,
)
from kim_torchml.inputs.signature import Argument
from kim_torchml.model_files.description import KindFormat
from kim_torchml.model_files.model_folder import ModelFolder


class DescriptorInputs(PairKind):
    """Descriptors of the contributing particles; the driver differentiates through them. Species are always codes."""

    file_format = KindFormat(n_inputs=1, names_descriptor=True)

    def __init__(self, files: ModelFolder) -> None:
        """Read the descriptor's file."""
        super().__init__(files)
        model, file = files.description, files.descriptor
        if model.descriptor is None or file is None:
            raise DriverError("a model of the kind descriptor must name a descriptor and have its file")
        self._descriptor, self._normalisation = read_descriptor(
            file.text, file.name, model.descriptor, model.species, model.cutoff, model.source
        )
        self._file_name = file.name

    @property
    def description(self) -> str:
        """How wide the descriptor is, which the model's first layer must fit."""
        width = self._descriptor.width
        return f"the descriptor in {self._file_name} has {width} {'column' if width == 1 else 'columns'}"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The descriptors alone."""
        return (Argument("descriptors", ("contributing", self._descriptor.width), None),)

    def build(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Return the model's inputs."""
        counts, neighbours = particles.neighbour_lists(self.cutoff)
        rows = leaf(particles.coordinates, dtype, device)
        neighbourhoods = Neighbourhoods(
            coordinates=rows,
            species_codes=_indices(particles.species_codes, device),
            centres=_indices(particles.own, device),
            counts=_indices(counts, device),
            neighbours=_indices(neighbours, device),
        )
        contributing_rows = rows_that_contribute(particles, device)
        return ModelInputs((self._describe(neighbourhoods),), rows, len(rows), contributing_rows, None, len(neighbours))

    def build_by_pair(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> PairInputs:
        """Return inputs of the same values, with one row for each centre and each of its neighbours."""
        counts, neighbours = particles.neighbour_lists(self.cutoff)
        centres = particles.own
        particle_of_row = np.concatenate([centres, neighbours])
        rows = leaf(particles.coordinates[particle_of_row], dtype, device)
        neighbourhoods = Neighbourhoods(
            coordinates=rows,
            species_codes=_indices(particles.species_codes[particle_of_row], device),
            centres=torch.arange(len(centres), dtype=torch.int64, device=device),
            counts=_indices(counts, device),
            neighbours=torch.arange(len(centres), len(particle_of_row), dtype=torch.int64, device=device),
        )
        of_centres = slice(0, len(centres))
        inputs = ModelInputs((self._describe(neighbourhoods),), rows, len(rows), of_centres, None, len(neighbours))
        return PairInputs(inputs, np.repeat(centres, counts), neighbours)

    def _describe(self, neighbourhoods: Neighbourhoods) -> torch.Tensor:
        values = self._descriptor(neighbourhoods)
        return values if self._normalisation is None else self._normalisation(values)


def _indices(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return to_tensor(array.astype(np.int64), device)
