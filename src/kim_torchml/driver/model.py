# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model as KIM creates it: its files read and loaded, then probed, then computed with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kim_torchml.driver.outputs import needed_quantities, supported_outputs, write_outputs
from kim_torchml.driver.parameters import new_tensors, publish_parameters
from kim_torchml.driver.units import Units
from kim_torchml.engines.torchscript.archive import extra_files
from kim_torchml.engines.torchscript.program import ScriptModel, is_out_of_memory, load_script, summary_of
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import Evaluation, Quantity, evaluate, evaluate_particle_virials
from kim_torchml.evaluation.first_call import known_capability, probe_capability
from kim_torchml.inputs import FILE_FORMATS, Neighbours, PairKind, Particles, make_inputs
from kim_torchml.model_files.model_folder import read_model_folder
from kim_torchml.model_files.parameter_file import ParameterFile
from kim_torchml.process import notices as process
from kim_torchml.process import settings
from kim_torchml.process.device import choose_device, describe_device, set_determinism, set_threads
from kim_torchml.process.rank import find_rank


class Model:
    """A model.

    Attributes:
        file_name: Of its TorchScript file, without a folder.
        species: Element symbols; the index is KIM's species code.
        cutoff: Of its neighbour lists, Å.
        influence_distance: Å.
        needs_noncontributing_neighbours: Whether it asks for neighbours of non-contributing particles.
        parameters: Its KIM parameters; simulators overwrite their values and then call `take_parameters`.
    """

    # A host's own Python may call under torch.no_grad() or torch.inference_mode().
    @torch.inference_mode(False)
    @torch.enable_grad()
    def __init__(self, folder: Path, names: Sequence[str], units: Units) -> None:
        """Read, check and load a model's files.

        Args:
            folder: Where they are.
            names: Their names.
            units: The simulator's, for its outputs.
        Raises:
            DriverError: If a file is missing or wrong, or the requested device is not there.
        """
        files = read_model_folder(folder, names, FILE_FORMATS)
        self._files = files
        self._file = files.parameters
        self._units = units
        self._rank = find_rank()
        self._device = choose_device(settings.execution_device(), self._rank)
        self._atomic_numbers = settings.wants_atomic_numbers()
        self._inputs = make_inputs(files, self._atomic_numbers)
        self.species = list(self._file.elements)
        self.file_name = self._file.model_file
        self.cutoff = self._inputs.cutoff
        self.influence_distance = self._inputs.influence_distance
        self.needs_noncontributing_neighbours = self._inputs.needs_noncontributing_neighbours
        with self._enough_memory("its tensors"):
            self._original = load_script(files.script, self._file.model_file, self._device)
        self._script = self._original
        _check_n_inputs(self._script, self._file)
        self.parameters = publish_parameters(self._script, len(self.species))

    @torch.inference_mode(False)
    @torch.enable_grad()
    def prepare(self) -> set[str]:
        """Find out what the model gives, once per process and content.

        Returns:
            KIM's names of the outputs it supports.
        Raises:
            DriverError: If the model does not fit its parameter file.
        """
        set_threads(self._rank, process.is_ours)
        set_determinism(self._device)
        with self._enough_memory("its work"):
            # With parameters as they are now: they may be what the energy's derivative hangs on.
            probe = known_capability if self._script is self._original else probe_capability
            capability = probe(self._script, self._files, self._atomic_numbers)
        self._layout = capability.layout
        process.announce_first_use(
            self._rank,
            f"torch {torch.__version__}, model {self._file.model_file} ({self._file.preprocessing}), "
            f"device {describe_device(self._device)}, {torch.get_num_threads()} CPU thread(s)",
        )
        if Quantity.FORCES not in capability.quantities:
            process.warn(
                self._rank,
                f"the energy of the model in {self._file.model_file} does not depend on the coordinates through "
                "autograd, so it supports no forces; do not detach or convert coordinates in the model, or let it "
                "return the forces itself",
            )
        return supported_outputs(set(capability.quantities))

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
            outputs: KIM's name of each output that was asked for, and the array to overwrite, in the simulator's units.
        Raises:
            DriverError: If the model fails; then nothing has been written.
        """
        if not contributing.any():
            for out in outputs.values():
                out[:] = 0.0
            return
        particles = Particles(coordinates, species_codes, contributing.astype(bool), neighbours)
        with self._enough_memory(f"{len(particles)} particles"):
            evaluation = self._evaluate(particles, needed_quantities(outputs))
        write_outputs(evaluation, self._units, outputs, self._file.model_file)

    @contextmanager
    def _enough_memory(self, what: str) -> Iterator[None]:
        """Turn an error of a device without memory into one sentence; `what` was to be in it beside the model."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DriverError(
                f"the memory of {describe_device(self._device)} must hold the model in {self._file.model_file} and "
                f"{what}, got: {summary_of(error)}; use fewer particles, or more ranks or devices"
            ) from error

    def _evaluate(self, particles: Particles, wanted: set[Quantity]) -> Evaluation:
        kind, script = self._inputs, self._script
        inputs = kind.build(particles, script.dtype, self._device)
        with script.turn:
            evaluation = evaluate(script, inputs, particles, self._layout, self._file.returns_forces, wanted)
        if Quantity.PARTICLE_VIRIALS in wanted and isinstance(kind, PairKind):
            pairs = kind.build_by_pair(particles, script.dtype, self._device)
            with script.turn:
                virials = evaluate_particle_virials(script, pairs, particles)
            evaluation = replace(evaluation, particle_virials=virials)
        return evaluation

    @torch.inference_mode(False)
    @torch.enable_grad()
    def take_parameters(self, changed: Sequence[int]) -> None:
        """Let the model have the values of parameters that a simulator has overwritten.

        Models are shared by all that were created from the same files: this one gets a copy of its own.

        Args:
            changed: Their indices in `parameters`.
        Raises:
            DriverError: If one is read-only or not a finite number; then the model is as it was.
        """
        parameters = [self.parameters[i] for i in changed]
        with self._enough_memory("a copy of it with other parameters"):
            new = new_tensors(self._script, parameters)
            # In single precision they have been rounded: KIM is to tell what the model has.
            rounded = {name: tensor.to(torch.float64).reshape(-1).numpy() for name, tensor in new.items()}
            self._script = self._script.changed(new)
        for parameter in parameters:
            if parameter.tensor is not None:
                parameter.values[:] = rounded[parameter.tensor]

    def changed_parameters(self) -> dict[str, list[float]]:
        """Return the values of those parameters that the model computes with other values than its file has."""
        if self._script is self._original:
            return {}
        before, now = (publish_parameters(script, len(self.species)) for script in (self._original, self._script))
        return {
            new.name: new.values.tolist()
            for old, new in zip(before, now, strict=True)
            if not np.array_equal(old.values, new.values, equal_nan=True)
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
        for name, content in self._files.contents:
            is_changed = name == self._file.model_file and self._script is not self._original
            try:
                (Path(folder) / name).write_bytes(self._script.content(extra_files(content)) if is_changed else content)
            except OSError as error:
                raise DriverError(f"cannot write the model's file {name}: {error}; choose another folder") from error
        return [name for name, _ in self._files.contents]


def _check_n_inputs(script: ScriptModel, parameters: ParameterFile) -> None:
    if script.n_inputs != parameters.n_inputs:
        raise DriverError(
            f"the model in {script.file_name} must take {parameters.n_inputs} inputs, as the parameter file says "
            f"(preprocessing {parameters.preprocessing}, number of inputs {parameters.n_inputs}), but its forward "
            f"takes {script.n_inputs}; correct the number of layers and inputs, or the model"
        )
