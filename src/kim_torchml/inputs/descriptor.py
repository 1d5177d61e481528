# SPDX-License-Identifier: LGPL-2.1-or-later
"""Preprocessing Descriptor: the model gets one row of numbers per contributing particle.

Arguments: descriptors [contributing, width].
"""

import numpy as np
import torch

from kim_torchml.descriptors import Neighbourhoods, read_descriptor
from kim_torchml.errors import DriverError
from kim_torchml.inputs.base import InputKind, ModelInputs, Particles, leaf, to_tensor
from kim_torchml.model_folder import ModelFolder
from kim_torchml.parameter_file import KindFormat


class DescriptorInputs(InputKind):
    """Descriptors of the contributing particles; the driver differentiates through them. Species are always codes."""

    file_format = KindFormat(n_inputs=1, names_descriptor=True)

    def __init__(self, files: ModelFolder, atomic_numbers: bool) -> None:
        """Read the descriptor's file."""
        super().__init__(files, atomic_numbers)
        parameters, file = files.parameters, files.descriptor
        if parameters.descriptor is None or file is None:
            raise DriverError("a model with the preprocessing Descriptor must name a descriptor and have its file")
        self._descriptor, self._normalisation = read_descriptor(
            file.text, file.name, parameters.descriptor, parameters.elements, parameters.cutoff
        )
        self._file_name = file.name

    @property
    def description(self) -> str:
        """How wide the descriptor is, which the model's first layer must fit."""
        return f"the descriptor in {self._file_name} has {self._descriptor.width} columns"

    def build(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Return the model's inputs."""
        counts, neighbours = particles.neighbours.of_contributing(self.cutoff)
        rows = leaf(particles.coordinates, dtype, device)
        neighbourhoods = Neighbourhoods(
            coordinates=rows,
            species_codes=to_tensor(particles.species_codes.astype(np.int64), device),
            centres=to_tensor(np.flatnonzero(particles.contributing), device),
            counts=to_tensor(counts.astype(np.int64), device),
            neighbours=to_tensor(neighbours.astype(np.int64), device),
        )
        values = self._descriptor(neighbourhoods)
        if self._normalisation is not None:
            values = self._normalisation(values)
        return ModelInputs((values,), rows, None, len(neighbours))
