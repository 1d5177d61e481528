# SPDX-License-Identifier: LGPL-2.1-or-later
"""The model under test, and what all checks need of it: energies, lengths, tolerances, a choice of species."""

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from kim_torchml.driver.output_shapes import ENERGY, FORCES
from kim_torchml.tools.kim_host.model import KimModel, ModelError
from kim_torchml.tools.kim_host.particles import AtomsAndImages, particles_of
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.derivatives import noise_of, random_direction
from kim_torchml.tools.verification.grades import TOLERANCE
from kim_torchml.tools.verification.lengths import find_bond, find_nearest
from kim_torchml.tools.verification.result import VerifiedModel

# Step by which the atoms are moved to measure rounding, relative to the nearest distance.
NOISE_STEP = 1e-6
# Tolerance relative to the noise of the energy: forces are sums of many rounded terms, and the results that a check
# compares differ by more than one rounding.
ABOVE_ROUNDING = 300.0
# Numbers of compositions, and of pairs of species, that are tested if a model has many species (universal ones: 89).
MOST_COMPOSITIONS = 10
MOST_PAIRS = 15


@dataclass(frozen=True)
class EnergyAndForces:
    """Energy and forces of a configuration.

    Attributes:
        energy: energy, eV.
        forces: forces on the atoms, to which those on their images are added, shape [atoms, 3], eV/Å; None for models
            without forces.
    """

    energy: float
    forces: Floats | None


@dataclass
class ModelUnderTest:
    """A model, created in Å and eV, and the choices of one run.

    Attributes:
        name: KIM id.
        seed: seed of all random numbers.
        chosen: species to check; all that the model supports if it is empty.
        progress: function that takes the fraction of a check that is done.
    """

    name: str
    seed: int = 0
    chosen: Sequence[str] = ()
    progress: Callable[[float], None] = field(default=lambda fraction: None)

    @cached_property
    def model(self) -> KimModel:
        """The model."""
        return KimModel(self.name)

    @property
    def species(self) -> list[str]:
        """The species to check."""
        return list(self.chosen) or sorted(self.model.species)

    @property
    def has_forces(self) -> bool:
        """Whether the model computes forces."""
        return FORCES in self.model.arguments.supported

    @property
    def outputs(self) -> tuple[str, ...]:
        """Energy, and forces if the model computes them."""
        return (ENERGY, FORCES) if self.has_forces else (ENERGY,)

    def describe(self) -> VerifiedModel:
        """Return what the model says of itself.

        Raises:
            ModelError: It supports no species, not those chosen, or no energy.
        """
        supported = sorted(self.model.species)
        if not supported:
            raise ModelError(f"the model {self.name} supports no species")
        if unknown := [species for species in self.chosen if species not in supported]:
            raise ModelError(
                f"the model {self.name} does not support {', '.join(unknown)}; it supports {', '.join(supported)}"
            )
        outputs = self.model.arguments.supported
        if ENERGY not in outputs:
            raise ModelError(f"the model {self.name} computes no energy, so there is nothing to check")
        reach, cutoffs = self.model.influence_distance, self.model.cutoffs
        return VerifiedModel(self.name, supported, self.species, reach, cutoffs, outputs)

    def random(self, check: str) -> np.random.Generator:
        """Return the random numbers of a check, which do not depend on which other checks run."""
        return np.random.default_rng([self.seed, zlib.crc32(check.encode())])

    def particles(self, structure: Structure) -> AtomsAndImages:
        """Return a structure as the model's particles."""
        return particles_of(structure, self.model.species, self.model.influence_distance)

    def evaluate(self, structure: Structure) -> EnergyAndForces:
        """Return energy and forces.

        Raises:
            ModelError: The model failed.
        """
        particles = self.particles(structure)
        return energy_and_forces(particles, self.model.compute(particles, self.outputs))

    def reference(self, structure: Structure) -> EnergyAndForces:
        """Return energy and forces to compare others with, and make sure that the atoms interact.

        Raises:
            ModelError: The model failed, or its energy does not depend on where the atoms are.
        """
        found = self.evaluate(structure)
        if found.forces is None or not found.forces.any():
            stretched = structure.moved(1.01 * structure.positions)
            if self.energy(stretched) == found.energy:
                raise ModelError("the atoms do not interact: energy and forces do not depend on where they are")
        return found

    def energy(self, structure: Structure) -> float:
        """Return the energy, eV. Forces are computed as well, as in simulators: some models fail without them."""
        return self.evaluate(structure).energy

    @cached_property
    def mixture(self) -> list[str]:
        """All species together or, if the model does not combine them, the first composition that it computes.

        Raises:
            ModelError: It computes no composition.
        """
        reasons = []
        for species in [self.species, *self.compositions()]:
            try:
                random = self.random("mixture")
                self.reference(crystal("bcc", (2, 1, 1), self.nearest("bcc", species), species, random))
            except ModelError as error:
                reasons.append(error)
            else:
                return list(species)
        raise reasons[0]

    @cached_property
    def tolerance(self) -> float:
        """Relative difference that a pass/fail check allows; see `tolerance_for`."""
        nearest = self.nearest("bcc", self.mixture)
        return self.tolerance_for(crystal("bcc", (2, 2, 1), nearest, self.mixture, self.random("tolerance")), nearest)

    def tolerance_for(self, structure: Structure, nearest: float) -> float:
        """Return the relative difference that is allowed: TOLERANCE, or more if the model rounds (single precision).

        Args:
            structure: atoms that interact.
            nearest: their nearest distance, Å.
        Raises:
            ModelError: The model failed.
        """
        found = self.reference(structure)
        noise = self.noise(structure, nearest, self.random("direction"))
        greatest = 0.0 if found.forces is None else float(np.abs(found.forces).max())
        return max(TOLERANCE, ABOVE_ROUNDING * noise / max(abs(found.energy), greatest * nearest))

    def noise(self, structure: Structure, nearest: float, random: np.random.Generator) -> float:
        """Return the standard deviation of the energy about a smooth curve along a random direction, eV."""
        at = structure.positions.ravel()
        return noise_of(self.energy_of(structure), at, random_direction(at, random), NOISE_STEP * nearest)

    def energy_of(self, structure: Structure) -> Callable[[Floats], float]:
        """Return the energy (eV) of these atoms as a function of all coordinates, shape [3 n], Å."""
        return lambda coordinates: self.energy(structure.moved(coordinates.reshape(-1, 3)))

    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of species to check, a random selection if there are many."""
        every = list(itertools.combinations_with_replacement(self.species, 2))
        if len(every) <= MOST_PAIRS:
            return every
        kept = self.random("pairs").choice(len(every), MOST_PAIRS, replace=False)
        return [every[index] for index in sorted(kept)]

    def compositions(self) -> list[list[str]]:
        """Return the species of each configuration: each alone (a random selection of many), and all together."""
        singles = self.species
        if len(singles) > MOST_COMPOSITIONS:
            kept = self.random("compositions").choice(len(singles), MOST_COMPOSITIONS, replace=False)
            singles = [singles[index] for index in sorted(kept)]
        return [[species] for species in singles] + ([self.species] if len(self.species) > 1 else [])

    def nearest(self, lattice: str, species: Sequence[str]) -> float:
        """Return the distance of nearest neighbours in the model's own crystal of these species, Å."""
        key = (lattice, *sorted(set(species)))
        if key not in self._lengths:
            self._lengths[key] = find_nearest(self.energy, lattice, species, self._cutoff)
        return self._lengths[key]

    def bond(self, first: str, second: str) -> float:
        """Return the distance of least energy of a dimer, Å."""
        key = ("dimer", first, second)
        if key not in self._lengths:
            self._lengths[key] = find_bond(self.energy, first, second, self._cutoff)
        return self._lengths[key]

    @cached_property
    def _lengths(self) -> dict[tuple[str, ...], float]:
        return {}

    @property
    def _cutoff(self) -> float:
        return max(self.model.cutoffs, default=self.model.influence_distance)


def energy_and_forces(particles: AtomsAndImages, outputs: dict[str, Floats]) -> EnergyAndForces:
    """Return energy and forces of the atoms, from what the model gave for the particles."""
    if FORCES not in outputs:
        return EnergyAndForces(float(outputs[ENERGY][0]), None)
    forces = np.zeros((particles.n_atoms, 3))
    np.add.at(forces, particles.owners, outputs[FORCES])
    return EnergyAndForces(float(outputs[ENERGY][0]), forces)


def label(species: Sequence[str], longest: int = 6) -> str:
    """Return the name of a composition, such as Si or GeSi."""
    names = sorted(set(species))
    return "".join(names) if len(names) <= longest else f"{len(names)} species"
