# SPDX-License-Identifier: LGPL-2.1-or-later
"""One call of a model: energies and forces of particles out of what its program gives for rows."""

import math
from collections.abc import Set
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
import torch

from kim_torchml.engines.contract import Program, ProgramResult
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.returned_values import EnergyLayout, check_entries, check_finite, check_forces
from kim_torchml.evaluation.virials import virials_of_pairs
from kim_torchml.inputs import ModelInputs, PairInputs, Particles


class Quantity(Enum):
    """What an evaluation can give beside the energy."""

    PARTICLE_ENERGIES = auto()
    FORCES = auto()
    PARTICLE_VIRIALS = auto()


@dataclass(frozen=True)
class Evaluation:
    """A model's answer for a configuration, in eV and Å; what was not asked for is None.

    Attributes:
        energy: partial energy, shape [], float64, eV.
        coordinates: Cartesian coordinates of all particles, shape [n, 3], float64, Å.
        particle_energies: energy of each particle, shape [n], float64, eV; 0 for non-contributing particles.
        forces: partial forces on all particles, shape [n, 3], float64, eV/Å.
        particle_virials: virials of all particles, shape [n, 6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
    """

    energy: np.ndarray
    coordinates: np.ndarray
    particle_energies: np.ndarray | None = None
    forces: np.ndarray | None = None
    particle_virials: np.ndarray | None = None


def evaluate(
    program: Program, inputs: ModelInputs, particles: Particles, layout: EnergyLayout, wanted: Set[Quantity]
) -> Evaluation:
    """Call a model once.

    Args:
        program: The model.
        inputs: What it is called with.
        particles: What the inputs were made from.
        layout: What the entries of its energy stand for.
        wanted: What to give beside the energy; virials by particle are not given here.
    Returns:
        The energy and what was wanted, all finite.
    Raises:
        DriverError: If the model fails, or returns a wrong shape, NaN or infinity.
    """
    n, name = len(particles), program.file_name
    wants_forces = Quantity.FORCES in wanted
    result = program.run(inputs, wants_forces)
    check_entries(result.energies, layout, inputs.n_rows, particles.n_contributing, name)
    of_rows = result.energies.reshape(-1)
    contributing = of_rows[inputs.contributing_rows] if layout is EnergyLayout.ALL else of_rows
    # In double precision, so that the sum of many float32 energies does not lose digits.
    total = contributing[0] if layout is EnergyLayout.TOTAL else contributing.to(torch.float64).sum()
    energy = np.asarray(total.item())
    # For a single number numpy's check would take longer than the sum itself.
    if not math.isfinite(energy):
        check_finite(energy, "energy", name)
    energies = None
    if Quantity.PARTICLE_ENERGIES in wanted:
        energies = _particle_energies(of_rows, inputs, particles, layout)
    forces = None
    if wants_forces:
        forces = _to_numpy(inputs.by_particle(_forces_on_rows(program, inputs, result), n))
        check_finite(forces, "forces", name)
    return Evaluation(energy, particles.coordinates, energies, forces)


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
    gradient = _to_numpy(_gradient_of_rows(program, inputs.model, result))
    vectors = particles.coordinates[inputs.second] - particles.coordinates[inputs.first]
    of_pairs = gradient[len(gradient) - len(vectors) :]
    virials = virials_of_pairs(of_pairs, vectors, inputs.first, inputs.second, len(particles))
    check_finite(virials, "particle virials", program.file_name)
    return virials


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.to("cpu", torch.float64).numpy()


def _particle_energies(
    energies: torch.Tensor, inputs: ModelInputs, particles: Particles, layout: EnergyLayout
) -> np.ndarray:
    """Return the energies of particles, shape [n], float64; 0 for those that do not contribute."""
    contributing = particles.contributing
    if layout is EnergyLayout.ALL:
        return np.where(contributing, _to_numpy(inputs.by_particle(energies, len(particles))), 0.0)
    # The model returns one energy for each contributing particle, in the order of the particles.
    values = np.zeros(len(particles))
    values[contributing] = _to_numpy(energies)
    return values


def _forces_on_rows(program: Program, inputs: ModelInputs, result: ProgramResult) -> torch.Tensor:
    """Return the forces on all rows, shape [rows, 3]: the model's own, or minus the derivative of its energy."""
    if result.forces is not None:
        return check_forces(result.forces, inputs.n_rows, program.file_name)
    return -_gradient_of_rows(program, inputs, result)


def _gradient_of_rows(program: Program, inputs: ModelInputs, result: ProgramResult) -> torch.Tensor:
    """Return dE/dr of all rows, shape [rows, 3]; zeros where no particle can act on another.

    Raises:
        DriverError: If the energy depends on the coordinates in a way that cannot be differentiated.
    """
    if result.gradient is not None:
        return result.gradient
    if inputs.n_pairs == 0 or _is_constant(program, inputs):
        # Forces are the negative of it: 0.0 rather than -0.0.
        return torch.full_like(inputs.leaf, -0.0)
    raise DriverError(
        f"the energy of the model in {program.file_name} does not depend on the coordinates through autograd, so "
        "there are no forces; do not detach or convert coordinates in the model, or let it return the forces itself"
    )


def _is_constant(program: Program, inputs: ModelInputs) -> bool:
    """Return whether a model's energies stay as they are when everything moves apart, beyond the model's own reach."""

    def energies(scale: float) -> torch.Tensor:
        arguments = tuple(scale * each.detach() if each.is_floating_point() else each for each in inputs.arguments)
        return program.run(replace(inputs, arguments=arguments), wants_gradient=False).energies

    return torch.equal(energies(1.0), energies(1.001))
