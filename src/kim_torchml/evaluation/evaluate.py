# SPDX-License-Identifier: LGPL-2.1-or-later
"""One call of a model: energies and forces of particles out of what its program gives for rows."""

import math
from collections.abc import Set
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import torch

from kim_torchml.engines.contract import Program
from kim_torchml.evaluation.derivatives import derivatives_of, gradient_by_leaf
from kim_torchml.evaluation.returned_values import EnergyLayout, check_entries, check_finite, to_numpy
from kim_torchml.evaluation.virials import virials_of_pairs
from kim_torchml.inputs import ModelInputs, PairInputs, Particles
from kim_torchml.process.profile import OUTPUTS, timed


class Quantity(Enum):
    """What an evaluation can give beside the energy."""

    PARTICLE_ENERGIES = auto()
    FORCES = auto()
    VIRIAL = auto()
    PARTICLE_VIRIALS = auto()


# What takes the derivative of the energy.
_OF_DERIVATIVE = {Quantity.FORCES, Quantity.VIRIAL, Quantity.PARTICLE_VIRIALS}


@dataclass(frozen=True)
class Evaluation:
    """A model's answer for a configuration, in eV and Å; what was not asked for is None.

    Attributes:
        energy: partial energy, shape [], float64, eV.
        particle_energies: energy of each particle, shape [n], float64, eV; 0 for non-contributing particles.
        forces: partial forces on all particles, shape [n, 3], float64, eV/Å.
        virial: partial virial, shape [6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
        particle_virials: virials of all particles, shape [n, 6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
    """

    energy: np.ndarray
    particle_energies: np.ndarray | None = None
    forces: np.ndarray | None = None
    virial: np.ndarray | None = None
    particle_virials: np.ndarray | None = None


def evaluate(
    program: Program,
    inputs: ModelInputs,
    particles: Particles,
    layout: EnergyLayout,
    wanted: Set[Quantity],
    advice: str = "",
) -> Evaluation:
    """Call a model once.

    Args:
        program: The model.
        inputs: What it is called with.
        particles: What the inputs were made from.
        layout: What the entries of its energy stand for.
        wanted: What to give beside the energy; virials by particle are given only where the leaf is edge vectors.
        advice: What a user can do about numbers that are not finite, beside the usual.
    Returns:
        The energy and what was wanted, all finite.
    Raises:
        DriverError: If the model fails, or returns a wrong shape, NaN or infinity.
    """
    name = program.file_name
    wants_derivative = not _OF_DERIVATIVE.isdisjoint(wanted)
    result = program.run(inputs, wants_derivative)
    check_entries(result.energies, layout, inputs.n_rows, particles.n_contributing, name)
    of_rows = result.energies.reshape(-1)
    contributing = of_rows[inputs.contributing_rows] if layout is EnergyLayout.ALL else of_rows
    # In double precision, so that the sum of many float32 energies does not lose digits.
    total = contributing[0] if layout is EnergyLayout.TOTAL else contributing.to(torch.float64).sum()
    energy = np.asarray(total.item())
    # For a single number numpy's check would take longer than the sum itself.
    if not math.isfinite(energy):
        check_finite(energy, "energy", name, advice)
    energies = forces = virial = particle_virials = None
    if Quantity.PARTICLE_ENERGIES in wanted:
        energies = _particle_energies(of_rows, inputs, particles, layout)
    if wants_derivative:
        with timed(OUTPUTS):
            derivatives = derivatives_of(program, inputs, result, particles)
            forces = derivatives.forces()
            check_finite(forces, "forces", name, advice)
            virial = derivatives.virial() if Quantity.VIRIAL in wanted else None
            particle_virials = derivatives.particle_virials() if Quantity.PARTICLE_VIRIALS in wanted else None
    return Evaluation(energy, energies, forces, virial, particle_virials)


def evaluate_particle_virials(program: Program, inputs: PairInputs, particles: Particles) -> np.ndarray:
    """Call a model, and differentiate its energy by the vector of each pair.

    This is a call of its own, so that everything else that is asked for keeps its bits.

    Args:
        program: The model, whose energy can be differentiated.
        inputs: What it is called with.
        particles: What the inputs were made from.
    Returns:
        Partial particle virials, shape [n, 6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
    Raises:
        DriverError: If the model fails, or a derivative is not finite.
    """
    result = program.run(inputs.model, wants_gradient=True)
    gradient = gradient_by_leaf(program, inputs.model, result).to("cpu", torch.float64)
    vectors = torch.from_numpy(particles.coordinates[inputs.second] - particles.coordinates[inputs.first])
    of_pairs = gradient[len(gradient) - len(vectors) :]
    first, second = (torch.from_numpy(each.astype(np.int64)) for each in (inputs.first, inputs.second))
    virials: np.ndarray = virials_of_pairs(of_pairs, vectors, first, second, len(particles)).numpy()
    check_finite(virials, "particle virials", program.file_name)
    return virials


def _particle_energies(
    energies: torch.Tensor, inputs: ModelInputs, particles: Particles, layout: EnergyLayout
) -> np.ndarray:
    """Return the energies of particles, shape [n], float64; 0 for those that do not contribute."""
    contributing = particles.contributing
    if layout is EnergyLayout.ALL:
        return np.where(contributing, to_numpy(inputs.by_particle(energies, len(particles))), 0.0)
    # The model returns one energy for each contributing particle, in the order of the particles.
    values = np.zeros(len(particles))
    values[contributing] = to_numpy(energies)
    return values
