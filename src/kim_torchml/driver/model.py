# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model as KIM creates it: its files read and loaded, then probed, then computed with."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kim_torchml.driver.edges_choice import chosen_inputs
from kim_torchml.driver.host_modes import without_host_modes
from kim_torchml.driver.joint_compute import JointCompute
from kim_torchml.driver.limits import LimitCheck
from kim_torchml.driver.memory_errors import FEWER_PARTICLES, enough_memory
from kim_torchml.driver.opened_models import open_files
from kim_torchml.driver.outputs import needed_quantities, supported_outputs, write_outputs
from kim_torchml.driver.parameters import new_tensors, parameter_values
from kim_torchml.driver.same_model import check_same_file, check_same_way
from kim_torchml.driver.stores import stores_of_process
from kim_torchml.driver.units import Units
from kim_torchml.engines import UNCOMPILED, CompiledProgram
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import Evaluation, Quantity, evaluate, evaluate_particle_virials
from kim_torchml.evaluation.first_call import Capability
from kim_torchml.inputs import ComputeMemory, EdgeInputs, ModelInputs, Neighbours, PairKind, Particles
from kim_torchml.inputs.folding import Folding
from kim_torchml.inputs.joint import JointRows
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.process import interpreter, notices, settings
from kim_torchml.process.communicator import OtherRankError, agreed, find_communicator
from kim_torchml.process.device import choose_device, describe_device, determinism, synchronise
from kim_torchml.process.profile import CONTRIBUTING, EDGES, N_EDGES, OUTPUTS, ROWS, Profile, counted, timed
from kim_torchml.process.rank import Rank, find_rank
from kim_torchml.process.threads import set_threads


class Model:
    """A model.

    Attributes:
        file_name: name of its model file, without a folder.
        species: element symbols; the index is KIM's species code.
        cutoff: cutoff of its neighbour lists, Å.
        influence_distance: distance beyond which nothing acts on a contributing particle's energy, Å.
        needs_noncontributing_neighbours: whether it asks for neighbours of non-contributing particles.
        description: what its files say.
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
        others = find_communicator(self._rank)
        self._communicator = others.communicator
        self._device = choose_device(settings.execution_device(), self._rank)
        # Whether compiled code is faster depends on it.
        set_threads(self._rank, interpreter.is_ours)
        elements_map = ElementsMap(settings.wants_atomic_numbers(), settings.ELEMENTS_MAP)
        self._opened = open_files(folder, names, self._device, elements_map, stores_of_process())
        self._program = self._opened.program
        self.description = self._opened.files.description
        chosen = chosen_inputs(self._opened.inputs, self._rank, others, self._program.n_exchanges)
        self._inputs, self._why_staged = chosen.kind, chosen.why_staged
        self._joint = self._joined()
        self.species = list(self.description.species)
        self.file_name = self.description.model_file
        self.cutoff = self._inputs.cutoff
        self.influence_distance = self._inputs.influence_distance
        self.needs_noncontributing_neighbours = self._inputs.needs_noncontributing_neighbours
        self.parameters = self._opened.parameters()
        self._limits = LimitCheck(self.description, self._warn_of_rank)
        self._tell_profile: Callable[[], None] | None = None
        self._profile = self._begin_profile() if settings.wants_profile() else None

    def _joined(self) -> JointCompute | None:
        """Return what exchanges features between ranks, where they do, after a look whether all do the same.

        Raises:
            DriverError: If other ranks compute in another way, because their settings are others.
        """
        if self._communicator is None:
            return None
        kind = self._inputs
        exchanges = isinstance(kind, EdgeInputs) and kind.ranks is not None
        way = [exchanges, round(1e6 * kind.influence_distance), self._program.n_exchanges]
        check_same_way(self._communicator, way, self.description.model_file)
        # Native code may exchange more often than the program does that it is made of.
        are_all_compiled = self._communicator.all_are(self._opened.is_compiled)
        if exchanges and not are_all_compiled and isinstance(self._program, CompiledProgram):
            self._program = self._program.uncompiled
        return JointCompute(self._communicator) if exchanges else None

    @without_host_modes
    def prepare(self) -> set[str]:
        """Find out what the model gives, once per process and content.

        Returns:
            KIM's names of the outputs it supports.
        Raises:
            DriverError: If the model is not what its files say.
        """
        with agreed(self._communicator):
            return self._prepare()

    def _prepare(self) -> set[str]:
        # This comes first: a switch that is on by mistake may make the model fail.
        notices.warn_of_switches(self._rank)
        with determinism(self._device), enough_memory(self._device, self.file_name, "its work"):
            # What the model gives, and whether it has forces, may depend on parameters as they are now.
            capability = self._opened.capability(self._program)
            fault = "" if self._joint is None else self._opened.fault_of_exchange(self._program)
        for each in filter(None, (*capability.faults, fault)):
            raise DriverError(each)
        check_same_file(self._communicator, self._opened.digest, self.file_name)
        self._layout = capability.layout
        notices.announce_first_use(
            self._rank,
            f"torch {torch.__version__}, model {self.file_name} ({self._kind()}), "
            f"device {describe_device(self._device)}, {torch.get_num_threads()} CPU thread(s)",
        )
        if self._why_staged:
            notices.advise(
                self._rank,
                f"each rank computes the particles of others around its own again, {self.influence_distance:g} Å deep, "
                f"as they do not exchange features: {self._why_staged}",
                about=hash(self._opened.files.program),
            )
        if self._opened.advice:
            notices.advise(self._rank, self._opened.advice, about=hash(self._opened.files.program))
        for doubt in self._doubts(capability):
            notices.warn(self._rank, doubt, about=hash(self._opened.files.program))
        return supported_outputs(set(capability.quantities))

    def new_memory(self) -> ComputeMemory:
        """Return what one set of compute arguments keeps from one compute to the next.

        Threads compute with arguments of their own, so they share no memory.
        """
        return ComputeMemory(Folding(self._warn_of_rank))

    def _kind(self) -> str:
        """Return the kind of input, and what was chosen of several ways to compute."""
        return ", ".join(filter(None, (self.description.kind, self._inputs.way, self._how())))

    def _how(self) -> str:
        return UNCOMPILED if self._has_own_parameters() and self._opened.how else self._opened.how

    def _warn_of_rank(self, sentence: str) -> None:
        notices.warn_of_rank(self._rank, sentence, about=hash(self._opened.files.program))

    def _doubts(self, capability: Capability) -> Iterator[str]:
        """Yield sentences on what a user should know of the model although it is no error."""
        if Quantity.FORCES not in capability.quantities:
            yield (
                f"the energy of the model in {self.file_name} does not depend on the {self._inputs.what_moves} through "
                f"autograd, so it supports no forces; do not detach or convert {self._inputs.what_moves} in the model"
                f"{self._inputs.other_way_to_forces}"
            )
        sign = self._opened.sign_of_atomic_numbers
        if sign:
            yield (
                f"the model in {self.file_name} gets species codes (0, 1, ..), but may expect atomic numbers: "
                f"{sign}; {self._coding_advice()}"
            )
        yield from capability.doubts

    def _coding_advice(self) -> str:
        """Return what to do about a model that gets species codes and expects atomic numbers; nothing for others."""
        advice = self.description.coding_advice
        return "" if self.description.atomic_numbers or not advice else f"if it was trained on atomic numbers, {advice}"

    @without_host_modes
    def compute(
        self,
        coordinates: np.ndarray,
        species_codes: np.ndarray,
        contributing: np.ndarray,
        neighbours: Neighbours,
        outputs: Mapping[str, np.ndarray],
        step: int = 0,
        started: float | None = None,
        memory: ComputeMemory | None = None,
    ) -> None:
        """Compute the requested outputs and write them.

        Args:
            coordinates: Shape [n, 3], float64, Å.
            species_codes: Shape [n], int32.
            contributing: Shape [n], int32, 1 = contributing.
            neighbours: Neighbour lists of this configuration.
            outputs: KIM's name of each output that was asked for, and the array to overwrite, in the simulator's units.
            step: Number of this compute.
            started: When the simulator called, by time.perf_counter; by default now.
            memory: What `new_memory` has given for these compute arguments; None where this is their only compute.
        Raises:
            DriverError: If the model fails; then nothing has been written.
        """
        profiled = nullcontext() if self._profile is None else self._profile.compute(started)
        with profiled, agreed(self._communicator):
            kept = ComputeMemory() if memory is None else memory
            particles = Particles(
                coordinates, species_codes, contributing.astype(bool), neighbours, kept.folding, kept.joint
            )
            self._compute(particles, outputs, step)

    def fail_with_others(self) -> None:
        """Let the ranks that compute with this one know that it has failed.

        Raises:
            OtherRankError: If one of them has failed as well, and says why.
        """
        if self._communicator is not None and not self._communicator.fail():
            raise OtherRankError(self._communicator)

    def check_others(self) -> None:
        """Wait until the other ranks have done the same; raise OtherRankError where one has failed."""
        if self._communicator is not None:
            self._communicator.check_all_well()

    def _compute(self, particles: Particles, outputs: Mapping[str, np.ndarray], step: int) -> None:
        # Where ranks exchange features, all take part in finding out which.
        if not particles.n_contributing and self._joint is None:
            for out in outputs.values():
                out[:] = 0.0
            return
        what = f"{len(particles)} particles"
        with determinism(self._device), enough_memory(self._device, self.file_name, what, FEWER_PARTICLES):
            evaluation = self._evaluate(particles, needed_quantities(outputs), step)
        if evaluation is None:
            for out in outputs.values():
                out[:] = 0.0
            return
        with timed(OUTPUTS):
            write_outputs(evaluation, self._units, outputs, self.file_name, self._coding_advice())

    def _evaluate(self, particles: Particles, wanted: set[Quantity], step: int) -> Evaluation | None:
        """Return what was wanted; None where no particle contributes."""
        kind, program = self._inputs, self._program
        with timed(EDGES):
            inputs = kind.build(particles, program.dtype, self._device)
        counted({ROWS: inputs.n_rows, CONTRIBUTING: particles.n_contributing, N_EDGES: inputs.n_pairs})
        if self._joint is not None and inputs.joint_rows is not None:
            return self._evaluate_jointly(self._joint, inputs, inputs.joint_rows, particles, wanted, step)
        self._limits.check(particles.neighbours, step)
        by_pair = wanted & {Quantity.PARTICLE_VIRIALS} if isinstance(kind, PairKind) else set()
        evaluation = evaluate(program, inputs, particles, self._layout, wanted - by_pair, self._coding_advice())
        if by_pair and isinstance(kind, PairKind):
            with timed(EDGES):
                pairs = kind.build_by_pair(particles, program.dtype, self._device)
            evaluation = replace(evaluation, particle_virials=evaluate_particle_virials(program, pairs, particles))
        return evaluation

    def _evaluate_jointly(
        self,
        joint: JointCompute,
        inputs: ModelInputs,
        rows: JointRows,
        particles: Particles,
        wanted: set[Quantity],
        step: int,
    ) -> Evaluation | None:
        """Return what was wanted while ranks exchange features; all ranks must call this."""
        joint.take_part(rows)
        if not particles.n_contributing:
            return None
        # Some ranks may be asked for more than others: all of them differentiate, and so exchange equally often.
        more = wanted | {Quantity.FORCES}
        with joint.exchange(rows):
            self._limits.check(particles.neighbours, step)
            program = self._program
            if isinstance(program, CompiledProgram) and not joint.all_are(program.runs_native_code_for(inputs)):
                program = program.uncompiled
            return evaluate(program, inputs, particles, self._layout, more, self._coding_advice())

    def _has_own_parameters(self) -> bool:
        """Return whether a simulator has set parameters: then the program is this model's alone."""
        return self._program is not self._opened.program

    def refresh(self, changed: Sequence[int]) -> None:
        """Let the model have the values of parameters that a simulator has overwritten; all ranks must call this.

        Args:
            changed: Their indices in `parameters`.
        Raises:
            DriverError: If they are refused, here or on another rank; then the model is as it was.
        """
        before = self._program
        try:
            with agreed(self._communicator):
                if changed:
                    self.take_parameters(changed)
        except OtherRankError:
            self._program = before
            raise

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
        if self._opened.is_compiled:
            notices.advise(
                self._rank,
                f"parameters of the model in {self.file_name} have other values than its file: it runs {UNCOMPILED} "
                "from now on; write the model with these values, and `kim-torchml install` compiles that",
                about=hash(self._opened.files.program),
            )

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

        The written model is complete, also where the model file was in a store.

        Args:
            folder: Where to; it exists.
        Returns:
            The files' names, in KIM's order.
        Raises:
            DriverError: If a file cannot be written.
        """
        files = self._opened.files
        program = self._program.file_content(files.program) if self._has_own_parameters() else files.program
        contents = files.written(program)
        for name, content in contents.items():
            try:
                (Path(folder) / name).write_bytes(content)
            except OSError as error:
                raise DriverError(f"cannot write the model's file {name}: {error}; choose another folder") from error
        return list(contents)

    def close(self) -> None:
        """Say where the time went, if that is wanted; the model is not used any more."""
        if self._tell_profile is not None:
            self._tell_profile()

    def _begin_profile(self) -> Profile:
        device = self._device
        profile = Profile(lambda: synchronise(device))
        # A host in Python may destroy its models while Python ends, when this module's functions are gone already.
        self._tell_profile = weakref.finalize(self, _tell_profile, self._rank, profile, self.file_name)
        return profile


def _tell_profile(rank: Rank, profile: Profile, file_name: str) -> None:
    table = profile.table(f"the model {file_name}")
    if table:
        notices.tell(rank, table)
