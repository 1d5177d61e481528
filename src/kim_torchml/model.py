# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model as KIM creates it: its files read, then loaded and probed, then computed with."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from kim_torchml import process, settings
from kim_torchml.device import choose_device, describe_device, set_threads
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS, Neighbours, Particles, make_inputs
from kim_torchml.launcher import find_rank
from kim_torchml.model_folder import ModelFolder, read_model_folder
from kim_torchml.outputs import (
    WRITERS,
    EnergyLayout,
    evaluate,
    probe_layout,
    split_result,
    supported_outputs,
)
from kim_torchml.parameter_file import ParameterFile
from kim_torchml.probe import probe_particles
from kim_torchml.script_archive import inspect_archive
from kim_torchml.torch_runtime import ScriptModel, load_script


class Model:
    """A model.

    Attributes:
        file_name: Of its TorchScript file, without a folder.
        species: Element symbols; the index is KIM's species code.
        cutoff: Of its neighbour lists, Å.
        influence_distance: Å.
        needs_noncontributing_neighbours: Whether it asks for neighbours of non-contributing particles.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Read and check a model's files; the TorchScript file is loaded by `prepare`.

        Args:
            folder: Where they are.
            names: Their names.
        Raises:
            DriverError: If a file is missing or wrong, or the requested device is not there.
        """
        files = read_model_folder(folder, names, FILE_FORMATS)
        self._files = files
        self._parameters = files.parameters
        self._rank = find_rank()
        self._device = choose_device(settings.execution_device(), self._rank)
        inspect_archive(files.script, files.parameters.model_file)
        self._atomic_numbers = settings.wants_atomic_numbers()
        self._inputs = make_inputs(files, self._atomic_numbers)
        self.file_name = files.parameters.model_file
        self.species = list(files.parameters.elements)
        self.cutoff = self._inputs.cutoff
        self.influence_distance = self._inputs.influence_distance
        self.needs_noncontributing_neighbours = self._inputs.needs_noncontributing_neighbours

    # A host's own Python may call under torch.no_grad() or torch.inference_mode().
    @torch.inference_mode(False)
    @torch.enable_grad()
    def prepare(self) -> set[str]:
        """Load the model, once per process and content, and find out what it gives.

        Returns:
            KIM's names of the outputs it supports.
        Raises:
            DriverError: If it cannot be loaded or does not fit its parameter file.
        """
        set_threads(self._rank, process.is_ours)
        self._script = load_script(self._files.script, self._parameters.model_file, self._device)
        _check_n_inputs(self._script, self._parameters)
        self._layout = _probe(self._script, self._files, self._atomic_numbers)
        process.announce_first_use(
            self._rank,
            f"torch {torch.__version__}, model {self._parameters.model_file} ({self._parameters.preprocessing}), "
            f"device {describe_device(self._device)}, {torch.get_num_threads()} CPU thread(s)",
        )
        return supported_outputs(self._layout)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def compute(
        self,
        coordinates: np.ndarray,
        species_codes: np.ndarray,
        contributing: np.ndarray,
        neighbours: Neighbours,
        outputs: Mapping[str, np.ndarray],
    ) -> None:
        """Compute the requested outputs and write them.

        Args:
            coordinates: Shape [n, 3], float64, Å.
            species_codes: Shape [n], int32.
            contributing: Shape [n], int32, 1 = contributing.
            neighbours: Neighbour lists of this configuration.
            outputs: KIM's name of each output that was asked for, and the array to overwrite.
        Raises:
            DriverError: If the model fails; then nothing has been written.
        """
        if not contributing.any():
            for out in outputs.values():
                out[:] = 0.0
            return
        particles = Particles(coordinates, species_codes, contributing.astype(bool), neighbours)
        evaluation = evaluate(
            self._script,
            self._inputs.build(particles, self._script.dtype, self._device),
            particles,
            self._layout,
            self._parameters.returns_forces,
            requested=outputs,
        )
        for name, out in outputs.items():
            WRITERS[name](evaluation, out)


def _check_n_inputs(script: ScriptModel, parameters: ParameterFile) -> None:
    if script.n_inputs != parameters.n_inputs:
        raise DriverError(
            f"the model in {script.file_name} must take {parameters.n_inputs} inputs, as the parameter file says "
            f"(preprocessing {parameters.preprocessing}, number of inputs {parameters.n_inputs}), but its forward "
            f"takes {script.n_inputs}; correct the number of layers and inputs, or the model"
        )


@lru_cache(maxsize=8)
def _probe(script: ScriptModel, files: ModelFolder, atomic_numbers: bool) -> EnergyLayout:
    """Call a model on a small configuration to see what its energy looks like: once for the same arguments."""
    parameters = files.parameters
    particles = probe_particles(parameters.cutoff)
    model_inputs = make_inputs(files, atomic_numbers).build(particles, script.dtype, script.device)
    try:
        energy, _ = split_result(script(*model_inputs.arguments), parameters.returns_forces, script.file_name)
        return probe_layout(energy, len(particles), int(particles.contributing.sum()), script.file_name)
    except DriverError as error:
        raise DriverError(f"{error} (found by a probe with 5 particles, 3 of them contributing)") from error
