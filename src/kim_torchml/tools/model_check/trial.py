# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model on trial: what all checks need of it, and how large an error may be."""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_host.particles import AtomsAndImages, KimParticles
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.model_check.loaded_model import Computed, LoadedModel, some_contribute
from kim_torchml.tools.model_check.structures import Structures
from kim_torchml.tools.verification.derivatives import noise_of

# Relative errors that sums in another order may make: far above rounding, far below what a mistake of a model makes.
_TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-4}
_TOLERANCE_OF_OTHERS = 5e-2
# A model may round more than its type does: then so many times its rounding, up to the second number, is allowed.
_ROUNDINGS, _MOST_FOR_ROUNDING = 300.0, 1e-3
# Energies of a model in eV or eV/Å below this count as zero.
_FLOOR = 1e-2
# Sums of large energies of single atoms lose so many of the last digits.
_LOST = 30.0
# Å. Over four such steps any curve is a parabola, and coordinates of single precision still change.
_STEP_OF_NOISE = 1e-5


class Trial:
    """A model, structures for it, and the tolerance.

    Attributes:
        model: the model.
        structures: structures for it.
        random: generator of all random numbers.
        progress: function that takes the part of a check that is done.
    """

    def __init__(
        self, model: LoadedModel, seed: int = 0, progress: Callable[[float], None] = lambda fraction: None
    ) -> None:
        """Find the distances of atoms.

        Args:
            model: The model.
            seed: Seed of all random numbers.
            progress: What to do when a part of a check is done.
        """
        self.model = model
        self.random = np.random.default_rng(seed)
        self.structures = Structures(model, self.random)
        self.progress = progress

    @cached_property
    def cluster(self) -> AtomsAndImages:
        """Rattled atoms of all species, all of which contribute."""
        return self.model.particles(self.structures.cluster())

    @cached_property
    def mixed(self) -> KimParticles:
        """The same atoms, of which some do not contribute."""
        return some_contribute(self.cluster, self.random.permutation(len(self.cluster))[: 2 * len(self.cluster) // 3])

    @cached_property
    def isolated(self) -> dict[int, float]:
        """Energy of an atom alone, eV, by species code; without those that the model cannot compute."""
        found = {}
        for code in range(len(self.model.species)):
            try:
                found[code] = self.model.compute(alone(code), forces=False).energy
            except DriverError:
                continue
        return found

    @cached_property
    def rounding(self) -> float:
        """Scatter of the energy about a smooth curve, relative to the scale of energies."""
        at = self.cluster.coordinates
        direction = self.random.uniform(-1.0, 1.0, at.shape)
        noise = noise_of(
            lambda moved: self.model.energy_at(self.cluster, at + moved[0] * direction),
            np.zeros(1),
            np.ones(1),
            _STEP_OF_NOISE,
        )
        energy = self.model.compute(self.cluster, forces=False).energy
        return float(noise / max(abs(energy), _FLOOR))

    @property
    def plain_tolerance(self) -> float:
        """Relative error that is allowed for the type of the model's inputs."""
        return _TOLERANCES.get(self.model.dtype, _TOLERANCE_OF_OTHERS)

    @cached_property
    def tolerance(self) -> float:
        """Relative error that is allowed."""
        return max(self.plain_tolerance, min(_ROUNDINGS * self.rounding, _MOST_FOR_ROUNDING))

    def difference(self, found: Computed, expected: Computed, particles: KimParticles) -> float:
        """Return the greatest difference of two results, relative to the scales of energies and of forces.

        Args:
            found: What the model gave.
            expected: What it must give.
            particles: What that was computed for.
        """
        n = int(particles.contributing.sum())
        scale = self.energy_scale(expected, particles)
        errors = [abs(found.energy - expected.energy) / (scale * math.sqrt(n))]
        if found.energies is not None and expected.energies is not None:
            errors.append(float(np.abs(found.energies - expected.energies).max()) / scale)
        if found.forces is not None and expected.forces is not None:
            errors.append(float(np.abs(found.forces - expected.forces).max()) / force_scale(expected.forces))
        return max(errors)

    def energy_scale(self, computed: Computed, particles: KimParticles) -> float:
        """Return what an error of one particle's energy is relative to, eV.

        It is the energy of interaction, as the energies of atoms alone can be thousands of eV, or the work of the
        greatest force over the distance of neighbours; and more where so large an energy is rounded.
        """
        contributing = particles.contributing.astype(bool)
        alone_energies = np.array([self.isolated.get(int(code), 0.0) for code in particles.codes[contributing]])
        if computed.energies is None:
            interaction = abs(computed.energy - float(alone_energies.sum())) / len(alone_energies)
        else:
            interaction = float(np.abs(computed.energies[contributing] - alone_energies).max())
        work = 0.0 if computed.forces is None else float(np.abs(computed.forces).max()) * self.structures.nearest
        lost = _LOST * float(torch.finfo(self.model.dtype).eps) / self.plain_tolerance
        return max(interaction, work, _FLOOR) + lost * float(np.abs(alone_energies).max())


def force_scale(forces: Floats) -> float:
    """Return what an error of a force is relative to, eV/Å."""
    return max(float(np.abs(forces).max()), _FLOOR)


def alone(code: int) -> KimParticles:
    """Return one particle of a species, which contributes."""
    return KimParticles(np.zeros((1, 3)), np.array([code], dtype=np.int32), np.ones(1, dtype=np.int32))
