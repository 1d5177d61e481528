# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM model through kimpy, with nothing in between: create, set parameters, compute, destroy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import kimpy
import kimpy.neighlist
import numpy as np

from kim_torchml.driver.output_shapes import ENERGY, FORCES, OUTPUT_NAMES, shape_of_output
from kim_torchml.tools.kim_host.particles import Integers, KimParticles
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.kim_host.units import ENERGIES, LENGTHS, METAL, UnitSystem
from kim_torchml.tools.programs.signals import signals_held_back

# Simulators hand out neighbours beyond the cutoff, so models are given some as well; relative to the cutoff.
SKIN = 0.1


class ModelError(Exception):
    """The model, or KIM on its behalf, refused or failed."""


class ComputeFailedError(ModelError):
    """The model's compute routine returned an error; KIM tells no reason, but a driver may have printed one."""


@dataclass(frozen=True)
class ModelParameter:
    """A parameter that a simulator can set.

    Attributes:
        index: KIM's index of the parameter.
        extent: number of its values.
        is_integer: whether its values are integers; otherwise they are floating-point numbers.
    """

    index: int
    extent: int
    is_integer: bool


class KimModel:
    """A model, created with one system of units; everything it takes and gives here is in Å and eV.

    Attributes:
        name: KIM id.
        kim: kimpy's model.
        accepted: whether the model took the units that it was asked for; if not, it works in its own.
        units: names of the units that the model works in, for messages.
        length: the model's unit of length, Å.
        energy: the model's unit of energy, eV.
    """

    def __init__(self, name: str, units: UnitSystem = METAL) -> None:
        """Create the model.

        Raises:
            ModelError: KIM cannot create it (the cause holds KIM's own words), or it works in units without conversion.
        """
        try:
            # KIM-API 2.3 leaves a model's temporary files behind if a signal interrupts its driver.
            with signals_held_back():
                accepted, self.kim = kimpy.model.create(kimpy.numbering.zeroBased, *units.requested(), name)
        except RuntimeError as error:
            asked = f"{units.length} and {units.energy}"
            raise ModelError(f"the model {name} could not be created in the units {asked}") from error
        self.name = name
        self.accepted = bool(accepted)
        length, energy = (str(unit) for unit in self.kim.get_units()[:2])
        if length not in LENGTHS or energy not in ENERGIES:
            raise ModelError(f"the model {name} works in the units {length} and {energy}, which are none to compare in")
        self.units = f"{length} and {energy}"
        self.length = LENGTHS[length]
        self.energy = ENERGIES[energy]

    @cached_property
    def species(self) -> dict[str, int]:
        """The model's code of each species that it supports."""
        found = {}
        for index in range(kimpy.species_name.get_number_of_species_names()):
            species = kimpy.species_name.get_species_name(index)
            supported, code = self.kim.get_species_support_and_code(species)
            if supported:
                found[str(species)] = int(code)
        return found

    @property
    def influence_distance(self) -> float:
        """How far an atom's energy reaches, Å."""
        return float(self.kim.get_influence_distance()) * self.length

    @property
    def cutoffs(self) -> list[float]:
        """Cutoffs of the model's neighbour lists, Å."""
        cutoffs, _ = self.kim.get_neighbor_list_cutoffs_and_hints()
        return [float(cutoff) * self.length for cutoff in cutoffs]

    @property
    def may_ask_for_noncontributing(self) -> bool:
        """Whether the model may ask for the neighbours of non-contributing particles."""
        _, hints = self.kim.get_neighbor_list_cutoffs_and_hints()
        return not all(hints)

    @cached_property
    def parameters(self) -> dict[str, ModelParameter]:
        """The parameters that can be set, by KIM's names."""
        found = {}
        for index in range(self.kim.get_number_of_parameters()):
            kind, extent, name, _ = self.kim.get_parameter_metadata(index)
            found[str(name)] = ModelParameter(index, int(extent), kind == kimpy.data_type.Integer)
        return found

    def set_parameters(self, values: Mapping[str, Sequence[float]]) -> None:
        """Set all values of some parameters, in the model's own units, and let the model take them over.

        KIM does not tell whether the model has refused them; `parameter_values` returns what it works with.
        """
        for name, each in values.items():
            parameter = self.parameters[name]
            number = int if parameter.is_integer else float
            for place, value in enumerate(each):
                self.kim.set_parameter(parameter.index, place, number(value))
        if values:
            self.kim.clear_then_refresh()

    def parameter_values(self, name: str) -> list[float]:
        """Return all values of a parameter, in the model's own units."""
        parameter = self.parameters[name]
        read = self.kim.get_parameter_int if parameter.is_integer else self.kim.get_parameter_double
        return [read(parameter.index, place) for place in range(parameter.extent)]

    @cached_property
    def arguments(self) -> "ModelArguments":
        """The first compute arguments."""
        return ModelArguments(self)

    def compute(self, particles: KimParticles, outputs: Iterable[str] = (ENERGY, FORCES)) -> dict[str, Floats]:
        """Compute with the first compute arguments; see ModelArguments.compute."""
        return self.arguments.compute(particles, outputs)


class ModelArguments:
    """One set of compute arguments; several threads can compute with theirs on one model.

    Attributes:
        supported: outputs that the model offers, by KIM's names.
    """

    def __init__(self, model: KimModel) -> None:
        self._model = model
        try:
            self._kim = model.kim.compute_arguments_create()
        except RuntimeError as error:
            raise ModelError(f"the model {model.name} gave no compute arguments") from error
        status = {name: str(self._kim.get_argument_support_status(_argument(name))) for name in OUTPUT_NAMES}
        self.supported = [name for name in OUTPUT_NAMES if status[name] in ("optional", "required")]
        self._required = [name for name in OUTPUT_NAMES if status[name] == "required"]
        for callback in ("ProcessDEDrTerm", "ProcessD2EDr2Term"):
            needed = self._kim.get_callback_support_status(getattr(kimpy.compute_callback_name, callback))
            if str(needed) == "required":
                raise ModelError(f"the model {model.name} requires the callback {callback}, which is not offered here")

    def compute(
        self, particles: KimParticles, outputs: Iterable[str] = (ENERGY, FORCES), release_gil: bool = False
    ) -> dict[str, Floats]:
        """Return the outputs that were asked for, in eV and Å.

        Args:
            particles: at least one particle.
            outputs: KIM's names.
            release_gil: whether Python's lock is released during the model's compute.

        Raises:
            ModelError: The model failed, or left a value that is not finite.
        """
        self.prepare(particles, outputs)
        return self.run(release_gil)

    def prepare(
        self, particles: KimParticles, outputs: Iterable[str], neighbours: Sequence[Integers] | None = None
    ) -> None:
        """Hand KIM the inputs and neighbour lists; `run` then computes, any number of times.

        Args:
            particles: at least one particle.
            outputs: KIM's names.
            neighbours: neighbours of each particle, the same for all cutoffs. By default kimpy searches for them, which
                needs finite coordinates that are not too far apart.
        """
        self._wanted = list(outputs)
        self._n = len(particles)
        self._set_arguments(particles)
        if neighbours is None:
            self._search_neighbours(particles)
        else:
            self._hand_out(neighbours)

    def run(self, release_gil: bool = False, finite: bool = True) -> dict[str, Floats]:
        """Return the outputs for what was prepared, in eV and Å.

        Args:
            release_gil: whether Python's lock is released during the model's compute.
            finite: whether a value that is not finite counts as a failure.

        Raises:
            ComputeFailedError: The model returned an error.
            ModelError: The model left a value that is not finite.
        """
        for values in self._results.values():
            values.fill(np.nan)
        try:
            self._model.kim.compute(self._kim, release_gil)
        except RuntimeError as error:
            raise ComputeFailedError(f"the model {self._model.name} failed to compute {self._n} particles") from error
        for name in self._wanted:
            if finite and not np.isfinite(self._results[name]).all():
                raise ModelError(f"the {name} of the model {self._model.name} is not finite")
        length, energy = self._model.length, self._model.energy
        factors = {name: energy / length if name == FORCES else energy for name in self._wanted}
        return {name: self._results[name] * factor for name, factor in factors.items()}

    def _set_arguments(self, particles: KimParticles) -> None:
        """Point KIM at the inputs, and at arrays for the outputs."""
        n = len(particles)
        # KIM only borrows these arrays, so they must outlive the compute.
        self._inputs = {
            "numberOfParticles": np.array([n], dtype=np.int32),
            "particleSpeciesCodes": np.ascontiguousarray(particles.codes, dtype=np.int32),
            "particleContributing": np.ascontiguousarray(particles.contributing, dtype=np.int32),
            "coordinates": np.ascontiguousarray(particles.coordinates / self._model.length),
        }
        asked = {*self._wanted, *self._required}
        self._results = {name: np.empty(shape_of_output(name, n)) for name in OUTPUT_NAMES if name in asked}
        for name, values in {**self._inputs, **self._results}.items():
            self._kim.set_argument_pointer(_argument(name), values)
        for name in OUTPUT_NAMES:
            if name not in asked:
                self._kim.set_argument_null_pointer(_argument(name))

    def _search_neighbours(self, particles: KimParticles) -> None:
        """Build neighbour lists of the particles that the model may ask for, with kimpy's own code: it needs no GIL.

        kimpy takes particles closer than 1e-5 for a collision, whatever the unit, and compares its cutoffs with the
        model's. So the coordinates are scaled to Å or to the model's unit, whichever gives the larger numbers: in
        metres all particles would collide.
        """
        scale = max(1.0, 1.0 / self._model.length)
        cutoffs = np.array(self._model.cutoffs) * (1.0 + SKIN) * scale
        reach = max(float(cutoffs.max(initial=0.0)), self._model.influence_distance * scale)
        self._lists = kimpy.neighlist.create()
        wanted = (
            np.ones_like(particles.contributing) if self._model.may_ask_for_noncontributing else particles.contributing
        )
        self._lists.build(np.ascontiguousarray(particles.coordinates * scale), reach, cutoffs, wanted)
        get_neighbours = kimpy.compute_callback_name.GetNeighborList
        self._kim.set_callback_pointer(get_neighbours, kimpy.neighlist.get_neigh_kim(), self._lists)

    def _hand_out(self, neighbours: Sequence[Integers]) -> None:
        """Let the model ask Python for the neighbours of a particle."""

        def neighbours_of(_data: object, _cutoffs: object, _list: int, particle: int) -> tuple[Integers, int]:
            return neighbours[particle], 0

        self._kim.set_callback(kimpy.compute_callback_name.GetNeighborList, neighbours_of, {})


def _argument(name: str) -> Any:
    """Return kimpy's object for KIM's name of an argument."""
    return getattr(kimpy.compute_argument_name, name)
