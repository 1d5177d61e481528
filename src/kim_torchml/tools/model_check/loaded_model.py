# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's folder, opened as the driver opens it, and computed with in Å and eV without a simulator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from kim_torchml.driver.host_modes import without_host_modes
from kim_torchml.driver.memory_errors import FEWER_PARTICLES, enough_memory
from kim_torchml.driver.opened_models import OpenedModel, open_files
from kim_torchml.driver.stores import stores_of_process
from kim_torchml.evaluation.dense_neighbours import DenseNeighbours
from kim_torchml.evaluation.evaluate import Quantity, evaluate
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.inputs import InputKind, Particles
from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.process import settings
from kim_torchml.process.device import choose_device, determinism
from kim_torchml.process.rank import find_rank
from kim_torchml.tools.kim_host.particles import AtomsAndImages, KimParticles, particles_of
from kim_torchml.tools.kim_host.structure import Floats, Structure


@dataclass(frozen=True)
class Computed:
    """What a model gave for some particles.

    Attributes:
        energy: partial energy, eV.
        energies: energy of each particle, shape [n], eV; None where the model returns the total.
        forces: partial forces, shape [n, 3], eV/Å; None where they were not asked for, or the model gives none.
        virial: partial virial, shape [6], eV, Voigt order; None where it was not asked for, or the model gives none.
    """

    energy: float
    energies: Floats | None
    forces: Floats | None
    virial: Floats | None = None


class LoadedModel:
    """A model that KIM would hand to the driver.

    Attributes:
        opened: its files and its program.
        description: what its files say.
        inputs: builder of its inputs.
        dtype: type of its floating inputs.
    """

    @without_host_modes
    def __init__(self, folder: Path, names: Sequence[str], elements_map: ElementsMap | None = None) -> None:
        """Load a model and call it once, as the driver does before the first step.

        Args:
            folder: Where its files are.
            names: Their names, as CMakeLists.txt lists them.
            elements_map: What parameter files leave to the environment; by default what the environment says.
        Raises:
            DriverError: If a file is missing or wrong, or the model is not what its files say.
        """
        self._device = choose_device(settings.execution_device(), find_rank())
        from_environment = ElementsMap(settings.wants_atomic_numbers(), settings.ELEMENTS_MAP)
        self.opened: OpenedModel = open_files(
            folder, names, self._device, elements_map or from_environment, stores_of_process()
        )
        self.description: ModelDescription = self.opened.files.description
        self.inputs: InputKind = self.opened.inputs
        self.dtype: torch.dtype = self.opened.program.dtype
        with determinism(self._device), enough_memory(self._device, self.description.model_file, "its work"):
            self._capability = self.opened.capability(self.opened.program)

    @property
    def species(self) -> tuple[str, ...]:
        """Element symbols; the index is the species code."""
        return self.description.species

    @property
    def reach(self) -> float:
        """Distance beyond which nothing acts on a contributing particle's energy, Å."""
        return self.inputs.influence_distance

    @property
    def layout(self) -> EnergyLayout:
        """What the entries of its energy stand for."""
        return self._capability.layout

    @property
    def gives_energies(self) -> bool:
        """Whether it gives an energy for each particle."""
        return Quantity.PARTICLE_ENERGIES in self._capability.quantities

    @property
    def gives_forces(self) -> bool:
        """Whether it gives forces."""
        return Quantity.FORCES in self._capability.quantities

    @property
    def doubts(self) -> tuple[str, ...]:
        """Sentences on what the first call has found that makes its results wrong."""
        return self._capability.faults + self._capability.doubts

    @property
    def repeats_bits(self) -> bool:
        """Whether the same input must give the same bits: sums on a GPU may come in any order."""
        return self._device.type == "cpu" or settings.wants_determinism()

    def particles(self, structure: Structure) -> AtomsAndImages:
        """Return the atoms of a structure, which contribute, and their images within reach, which do not."""
        codes = {symbol: code for code, symbol in enumerate(self.species)}
        return particles_of(structure, codes, self.reach)

    @without_host_modes
    def compute(
        self, particles: KimParticles, forces: bool = True, inputs: InputKind | None = None, virial: bool = False
    ) -> Computed:
        """Compute energies and, if the model gives them, forces.

        Args:
            particles: At least one of them contributes.
            forces: Whether forces are wanted.
            inputs: Builder of the inputs in place of the model's own.
            virial: Whether the virial is wanted.
        Raises:
            DriverError: If the model fails, or returns NaN or infinity.
        """
        wanted = {Quantity.PARTICLE_ENERGIES} if self.gives_energies else set()
        if forces and self.gives_forces:
            wanted.add(Quantity.FORCES)
        if virial and self.gives_forces:
            wanted.add(Quantity.VIRIAL)
        program, builder = self.opened.program, inputs or self.inputs
        seen = as_seen(particles)
        what = f"{len(particles)} particles"
        with determinism(self._device), enough_memory(self._device, program.file_name, what, FEWER_PARTICLES):
            built = builder.build(seen, program.dtype, self._device)
            found = evaluate(program, built, seen, self.layout, wanted)
        return Computed(float(found.energy), found.particle_energies, found.forces, found.virial)

    def energy_at(self, particles: KimParticles, coordinates: Floats) -> float:
        """Return the energy of particles at other coordinates, shape [n, 3], Å; eV."""
        return self.compute(replace(particles, coordinates=coordinates), forces=False).energy


def as_seen(particles: KimParticles) -> Particles:
    """Return particles as builders of inputs take them, with neighbour lists of all distances."""
    contributing = particles.contributing.astype(bool)
    neighbours = DenseNeighbours(particles.coordinates, contributing)
    return Particles(particles.coordinates, particles.codes, contributing, neighbours)


def some_contribute(particles: KimParticles, which: np.ndarray) -> KimParticles:
    """Return the same particles, of which others contribute: those of a mask or of indices."""
    contributing = np.zeros(len(particles), dtype=np.int32)
    contributing[which] = 1
    return KimParticles(particles.coordinates, particles.codes, contributing)


def chosen(particles: KimParticles, which: np.ndarray) -> KimParticles:
    """Return some of the particles, those of a mask or of indices, in that order."""
    return KimParticles(particles.coordinates[which], particles.codes[which], particles.contributing[which])


def folded(particles: AtomsAndImages, forces: Floats) -> Floats:
    """Return the forces on atoms [atoms, 3]: an atom has those on its images too."""
    total = np.zeros((particles.n_atoms, 3))
    np.add.at(total, particles.owners, forces)
    return total
