# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model as KIM creates it: its files read and loaded, then probed, then computed with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kim_torchml.driver.host_modes import without_host_modes
from kim_torchml.driver.memory_errors import FEWER_PARTICLES, enough_memory
from kim_torchml.driver.opened_models import open_files
from kim_torchml.driver.outputs import needed_quantities, supported_outputs, write_outputs
from kim_torchml.driver.parameters import new_tensors, parameter_values
from kim_torchml.driver.units import Units
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import Evaluation, Quantity, evaluate, evaluate_particle_virials
from kim_torchml.evaluation.first_call import Capability, find_capability
from kim_torchml.inputs import Neighbours, PairKind, Particles
from kim_torchml.process import interpreter, notices, settings
from kim_torchml.process.device import choose_device, describe_device, determinism
from kim_torchml.process.rank import find_rank
from kim_torchml.process.threads import set_threads


class Model:
    """A model.

    Attributes:
        file_name: name of its model file, without a folder.
        species: element symbols; the index is KIM's species code.
        cutoff: cutoff of its neighbour lists, Å.
        influence_distance: distance beyond which nothing acts on a contributing particle's energy, Å.
        needs_noncontributing_neighbours: whether it asks for neighbours of non-contributing particles.
        parameters: KIM parameters; simulators overwrite their values and then call `take_parameters`.
    """

    @without_host_modes
    def __init__(self, folder: Path, names: Sequence[str], units: Units) -> None:
        """Read, check and load a model's files.

        Args:
            folder: Where they are.
            names: Their names.
            units: The simulator's, for its outputs.
        Raises:
            DriverError: If a file is missing or wrong, or the requested device is not there.
        """
        self._units = units
        self._rank = find_rank()
        self._device = choose_device(settings.execution_device(), self._rank)
        self._opened = open_files(folder, names, self._device, settings.wants_atomic_numbers())
        self._program = self._opened.program
        self._file = self._opened.files.parameters
        self._inputs = self._opened.inputs
        self.species = list(self._file.elements)
        self.file_name = self._file.model_file
        self.cutoff = self._inputs.cutoff
        self.influence_distance = self._inputs.influence_distance
        self.needs_noncontributing_neighbours = self._inputs.needs_noncontributing_neighbours
        self.parameters = self._opened.parameters()

    @without_host_modes
    def prepare(self) -> set[str]:
        """Find out what the model gives, once per process and content.

        Returns:
            KIM's names of the outputs it supports.
        Raises:
            DriverError: If the model does not fit its parameter file.
        """
        set_threads(self._rank, interpreter.is_ours)
        # This comes first: a switch that is on by mistake may make the model fail.
        notices.warn_of_switches(self._rank)
        with determinism(self._device), enough_memory(self._device, self.file_name, "its work"):
            capability = self._capability()
        self._layout = capability.layout
        notices.announce_first_use(
            self._rank,
            f"torch {torch.__version__}, model {self.file_name} ({self._file.preprocessing}), "
            f"device {describe_device(self._device)}, {torch.get_num_threads()} CPU thread(s)",
        )
        for doubt in self._doubts(capability):
            notices.warn(self._rank, doubt, about=hash(self._opened.files.program))
        return supported_outputs(set(capability.quantities))

    def _doubts(self, capability: Capability) -> Iterator[str]:
        """Yield sentences on what a user should know of the model although it is no error."""
        if Quantity.FORCES not in capability.quantities:
            yield (
                f"the energy of the model in {self.file_name} does not depend on the coordinates through "
                "autograd, so it supports no forces; do not detach or convert coordinates in the model, or let it "
                "return the forces itself"
            )
        sign = self._opened.sign_of_atomic_numbers
        if sign:
            yield (
                f"the model in {self.file_name} gets species codes (0, 1, ..), but may expect atomic numbers: "
                f"{sign}; if it was trained on atomic numbers, set {settings.ELEMENTS_MAP}=1"
            )
        yield from capability.doubts

    def _capability(self) -> Capability:
        """Return what the model gives with parameters as they are now: whether it has forces may depend on them."""
        if self._has_own_parameters():
            return find_capability(self._program, self._inputs)
        return self._opened.capability()

    @without_host_modes
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
            outputs: KIM's name of each output that was asked for, and the array to overwrite, in the simulator's units.
        Raises:
            DriverError: If the model fails; then nothing has been written.
        """
        if not contributing.any():
            for out in outputs.values():
                out[:] = 0.0
            return
        particles = Particles(coordinates, species_codes, contributing.astype(bool), neighbours)
        what = f"{len(particles)} particles"
        with determinism(self._device), enough_memory(self._device, self.file_name, what, FEWER_PARTICLES):
            evaluation = self._evaluate(particles, needed_quantities(outputs))
        write_outputs(evaluation, self._units, outputs, self.file_name)

    def _evaluate(self, particles: Particles, wanted: set[Quantity]) -> Evaluation:
        kind, program = self._inputs, self._program
        inputs = kind.build(particles, program.dtype, self._device)
        evaluation = evaluate(program, inputs, particles, self._layout, wanted)
        if Quantity.PARTICLE_VIRIALS in wanted and isinstance(kind, PairKind):
            pairs = kind.build_by_pair(particles, program.dtype, self._device)
            evaluation = replace(evaluation, particle_virials=evaluate_particle_virials(program, pairs, particles))
        return evaluation

    def _has_own_parameters(self) -> bool:
        """Return whether a simulator has set parameters: then the program is this model's alone."""
        return self._program is not self._opened.program

    @without_host_modes
    def take_parameters(self, changed: Sequence[int]) -> None:
        """Let the model have the values of parameters that a simulator has overwritten.

        Programs are shared by all models that were created from the same files: this one gets a copy of its own.

        Args:
            changed: Their indices in `parameters`.
        Raises:
            DriverError: If one is read-only or not a finite number; then the model is as it was.
        """
        parameters = [self.parameters[i] for i in changed]
        with enough_memory(self._device, self.file_name, "a copy of it with other parameters"):
            new = new_tensors(self._program, parameters)
            # A model in single precision has rounded them, and KIM must show the rounded values.
            rounded = {name: tensor.to(torch.float64).reshape(-1).numpy() for name, tensor in new.items()}
            self._program = self._program.with_tensors(new)
        for parameter in parameters:
            if parameter.tensor is not None:
                parameter.values[:] = rounded[parameter.tensor]

    def changed_parameters(self) -> dict[str, list[float]]:
        """Return the values of those parameters that the model computes with other values than its file has."""
        if not self._has_own_parameters():
            return {}
        # Not the file's values: a model may itself change what it holds.
        before, now = (parameter_values(each, self.parameters) for each in (self._opened.program, self._program))
        return {
            name: values.tolist()
            for name, values in now.items()
            if not np.array_equal(before[name], values, equal_nan=True)
        }

    def write(self, folder: str) -> list[str]:
        """Write the model's files, with the parameters as they are now.

        Args:
            folder: Where to; it exists.
        Returns:
            The files' names, in KIM's order.
        Raises:
            DriverError: If a file cannot be written.
        """
        contents = self._opened.files.contents
        for name, content in contents:
            is_changed = name == self.file_name and self._has_own_parameters()
            try:
                (Path(folder) / name).write_bytes(self._program.file_content(content) if is_changed else content)
            except OSError as error:
                raise DriverError(f"cannot write the model's file {name}: {error}; choose another folder") from error
        return [name for name, _ in contents]
