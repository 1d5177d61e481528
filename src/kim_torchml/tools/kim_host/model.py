# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM model through kimpy, with nothing in between: create, compute, destroy."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import kimpy
import kimpy.neighlist
import numpy as np

from kim_torchml.tools.kim_host.particles import Particles
from kim_torchml.tools.kim_host.structures import Floats
from kim_torchml.tools.kim_host.units import ENERGIES, LENGTHS, METAL, UnitSystem
from kim_torchml.tools.programs.signals import held_back

ENERGY = "partialEnergy"
FORCES = "partialForces"
PARTICLE_ENERGIES = "partialParticleEnergy"
VIRIAL = "partialVirial"
PARTICLE_VIRIALS = "partialParticleVirial"
OUTPUTS = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS)

# Simulators hand out neighbours beyond the cutoff, so models are tested with some; relative to the cutoff.
SKIN = 0.1


class ModelError(Exception):
    """The model, or KIM on its behalf, refused or failed."""


def shape_of(output: str, n: int) -> tuple[int, ...]:
    """Return the shape of an output's array for n particles."""
    shapes = {ENERGY: (1,), FORCES: (n, 3), PARTICLE_ENERGIES: (n,), VIRIAL: (6,), PARTICLE_VIRIALS: (n, 6)}
    return shapes[output]


def argument(name: str) -> Any:
    """Return kimpy's object for KIM's name of an argument."""
    return getattr(kimpy.compute_argument_name, name)


class KimModel:
    """A model, created with one system of units; everything it takes and gives here is in Å and eV.

    Attributes:
        name: KIM id.
        accepted: Whether the model took the units that it was asked for; if not, it works in its own.
        units: The units that the model works in, for messages.
        length: Its unit of length, Å.
        energy: Its unit of energy, eV.
    """

    def __init__(self, name: str, units: UnitSystem = METAL) -> None:
        try:
            # KIM-API 2.3 leaves a model's files behind where its driver breaks off.
            with held_back():
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
    def asks_for_others(self) -> bool:
        """Whether the model may ask for the neighbours of non-contributing particles."""
        _, hints = self.kim.get_neighbor_list_cutoffs_and_hints()
        return not all(hints)

    @cached_property
    def arguments(self) -> "ModelArguments":
        """The first compute arguments."""
        return ModelArguments(self)

    def compute(self, particles: Particles, outputs: Iterable[str] = (ENERGY, FORCES)) -> dict[str, Floats]:
        """Compute with the first compute arguments; see ModelArguments.compute."""
        return self.arguments.compute(particles, outputs)


class ModelArguments:
    """One set of compute arguments; several threads can compute with theirs on one model.

    Attributes:
        supported: The outputs that the model offers.
    """

    def __init__(self, model: KimModel) -> None:
        self._model = model
        try:
            self._kim = model.kim.compute_arguments_create()
        except RuntimeError as error:
            raise ModelError(f"the model {model.name} gave no compute arguments") from error
        status = {name: str(self._kim.get_argument_support_status(argument(name))) for name in OUTPUTS}
        self.supported = [name for name in OUTPUTS if status[name] in ("optional", "required")]
        self._required = [name for name in OUTPUTS if status[name] == "required"]
        for callback in ("ProcessDEDrTerm", "ProcessD2EDr2Term"):
            needed = self._kim.get_callback_support_status(getattr(kimpy.compute_callback_name, callback))
            if str(needed) == "required":
                raise ModelError(f"the model {model.name} requires the callback {callback}, which is not offered here")

    def compute(
        self, particles: Particles, outputs: Iterable[str] = (ENERGY, FORCES), release_gil: bool = False
    ) -> dict[str, Floats]:
        """Return the outputs that were asked for, in eV and Å.

        Args:
            particles: At least one.
            outputs: KIM's names.
            release_gil: Whether Python's lock is released round the model's compute.

        Raises:
            ModelError: The model failed, or left a value that is not finite.
        """
        self.prepare(particles, outputs)
        return self.run(release_gil)

    def prepare(self, particles: Particles, outputs: Iterable[str]) -> None:
        """Hand KIM the inputs and build neighbour lists; `run` then computes, any number of times."""
        self._wanted = list(outputs)
        self._n = len(particles)
        self._set_arguments(particles)
        self._set_neighbours(particles)

    def run(self, release_gil: bool = False) -> dict[str, Floats]:
        """Return the outputs for what was prepared; see compute."""
        for values in self._results.values():
            values.fill(np.nan)
        try:
            self._model.kim.compute(self._kim, release_gil)
        except RuntimeError as error:
            raise ModelError(f"the model {self._model.name} failed to compute {self._n} particles") from error
        for name in self._wanted:
            if not np.isfinite(self._results[name]).all():
                raise ModelError(f"the {name} of the model {self._model.name} is not finite")
        length, energy = self._model.length, self._model.energy
        factors = {name: energy / length if name == FORCES else energy for name in self._wanted}
        return {name: self._results[name] * factor for name, factor in factors.items()}

    def _set_arguments(self, particles: Particles) -> None:
        """Point KIM at the inputs, and at arrays for the outputs."""
        n = len(particles)
        # KIM only borrows them, so they are kept.
        self._inputs = {
            "numberOfParticles": np.array([n], dtype=np.int32),
            "particleSpeciesCodes": np.ascontiguousarray(particles.codes, dtype=np.int32),
            "particleContributing": np.ascontiguousarray(particles.contributing, dtype=np.int32),
            "coordinates": np.ascontiguousarray(particles.coordinates / self._model.length),
        }
        asked = {*self._wanted, *self._required}
        self._results = {name: np.empty(shape_of(name, n)) for name in OUTPUTS if name in asked}
        for name, values in {**self._inputs, **self._results}.items():
            self._kim.set_argument_pointer(argument(name), values)
        for name in OUTPUTS:
            if name not in asked:
                self._kim.set_argument_null_pointer(argument(name))

    def _set_neighbours(self, particles: Particles) -> None:
        """Build neighbour lists of the particles that the model may ask for, with kimpy's own code: it needs no GIL.

        The lists are built in the larger of Å and the model's unit, as numbers go: kimpy takes particles closer than
        1e-5 for a collision (in metres all are), and compares its cutoffs with the model's in the model's unit.
        """
        scale = max(1.0, 1.0 / self._model.length)
        cutoffs = np.array(self._model.cutoffs) * (1.0 + SKIN) * scale
        reach = max(float(cutoffs.max(initial=0.0)), self._model.influence_distance * scale)
        self._lists = kimpy.neighlist.create()
        wanted = np.ones_like(particles.contributing) if self._model.asks_for_others else particles.contributing
        self._lists.build(np.ascontiguousarray(particles.coordinates * scale), reach, cutoffs, wanted)
        get_neighbours = kimpy.compute_callback_name.GetNeighborList
        self._kim.set_callback_pointer(get_neighbours, kimpy.neighlist.get_neigh_kim(), self._lists)
