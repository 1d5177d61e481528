# SPDX-License-Identifier: LGPL-2.1-or-later
"""One call of a model: its energy, and one backward pass where derivatives are asked for."""

from collections.abc import Set
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import torch

from kim_torchml.engines.torchscript.program import ScriptModel
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.returned_values import EnergyLayout, check_entries, check_finite, check_forces, split_result
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
        energy: Partial energy, shape [], float64, eV.
        coordinates: Of all particles, shape [n, 3], float64, Å.
        particle_energies: Shape [n], float64, eV, 0 for non-contributing particles.
        forces: Partial forces on all particles, shape [n, 3], float64, eV/Å.
        particle_virials: Of all particles, shape [n, 6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
    """

    energy: np.ndarray
    coordinates: np.ndarray
    particle_energies: np.ndarray | None = None
    forces: np.ndarray | None = None
    particle_virials: np.ndarray | None = None


def evaluate(
    script: ScriptModel,
    inputs: ModelInputs,
    particles: Particles,
    layout: EnergyLayout,
    returns_forces: bool,
    wanted: Set[Quantity],
) -> Evaluation:
    """Call a model and, if forces are wanted, differentiate its energy once.

    Args:
        script: The model.
        inputs: What it is called with.
        particles: What the inputs were made from.
        layout: What the entries of its energy stand for.
        returns_forces: Whether it returns (energy, forces).
        wanted: What to give beside the energy; virials by particle are not given here.
    Returns:
        The energy and what was wanted, all finite.
    Raises:
        DriverError: If the model fails, or returns a wrong shape, NaN or infinity.
    """
    n, name = len(particles), script.file_name
    energy, model_forces = split_result(script(*inputs.arguments), returns_forces, name)
    check_entries(energy, layout, len(inputs.coordinates), int(np.count_nonzero(particles.contributing)), name)
    contributing = _of_contributing(energy.reshape(-1), inputs, particles, layout)
    # In double precision, so that many float32 energies do not lose digits.
    total = contributing[0] if layout is EnergyLayout.TOTAL else contributing.to(torch.float64).sum()
    value = np.asarray(total.item())
    check_finite(value, "energy", name)
    energies = None
    if Quantity.PARTICLE_ENERGIES in wanted:
        energies = np.zeros(n)
        energies[particles.contributing] = _to_numpy(contributing)
    forces = None
    if Quantity.FORCES in wanted:
        if model_forces is not None:
            rows = check_forces(model_forces, len(inputs.coordinates), name)
        else:
            rows = _minus_gradient(total, inputs, script)
        forces = _to_numpy(inputs.by_particle(rows, n))
        check_finite(forces, "forces", name)
    return Evaluation(value, particles.coordinates, energies, forces)


def evaluate_particle_virials(script: ScriptModel, inputs: PairInputs, particles: Particles) -> np.ndarray:
    """Call a model, and differentiate its energy by the vector of each pair.

    A call of its own, so that what else is asked for keeps its bits.

    Args:
        script: The model, whose energy autograd can differentiate.
        inputs: What it is called with.
        particles: What the inputs were made from.
    Returns:
        Partial particle virials, shape [n, 6], float64, eV, Voigt order xx, yy, zz, yz, xz, xy.
    Raises:
        DriverError: If the model fails, or a derivative is not finite.
    """
    energy, _ = split_result(script(*inputs.model.arguments), False, script.file_name)
    rows = -_to_numpy(_minus_gradient(energy.to(torch.float64).sum(), inputs.model, script))
    vectors = particles.coordinates[inputs.second] - particles.coordinates[inputs.first]
    gradients = rows[len(rows) - len(vectors) :]
    virials = virials_of_pairs(gradients, vectors, inputs.first, inputs.second, len(particles))
    check_finite(virials, "particle virials", script.file_name)
    return virials


def depends_on_coordinates(energy: torch.Tensor, inputs: ModelInputs, script: ScriptModel) -> bool:
    """Return whether autograd leads from an energy back to the coordinates."""
    return _gradient(energy.sum(), inputs, script) is not None


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _of_contributing(
    energy: torch.Tensor, inputs: ModelInputs, particles: Particles, layout: EnergyLayout
) -> torch.Tensor:
    """Return the energies of contributing particles in ascending order, or the total as one entry."""
    if layout is not EnergyLayout.ALL:
        return energy
    by_particle = inputs.by_particle(energy, len(particles))
    contributing = particles.contributing
    count = int(np.count_nonzero(contributing))
    # Simulators mostly put contributing particles first: a slice is much cheaper than a mask.
    if contributing[:count].all():
        return by_particle[:count]
    return by_particle[torch.from_numpy(contributing).to(energy.device)]


def _gradient(energy: torch.Tensor, inputs: ModelInputs, script: ScriptModel) -> torch.Tensor | None:
    """Return dE/dr of all rows, shape [rows, 3]; None where autograd does not lead there."""
    if not energy.requires_grad:
        return None
    with script.explained_errors():
        (gradient,) = torch.autograd.grad(energy, inputs.coordinates, allow_unused=True)
    return gradient


def _is_constant(inputs: ModelInputs, script: ScriptModel) -> bool:
    """Return whether a model's energies stay as they are when everything moves apart: all are beyond its own reach."""

    def energies(scale: float) -> torch.Tensor:
        arguments = [scale * each.detach() if each.is_floating_point() else each for each in inputs.arguments]
        return split_result(script(*arguments), False, script.file_name)[0]

    return torch.equal(energies(1.0), energies(1.001))


def _minus_gradient(energy: torch.Tensor, inputs: ModelInputs, script: ScriptModel) -> torch.Tensor:
    """Return -dE/dr of all rows, shape [rows, 3]."""
    gradient = _gradient(energy, inputs, script)
    if gradient is not None:
        return -gradient
    if inputs.n_pairs == 0 or _is_constant(inputs, script):
        return torch.zeros_like(inputs.coordinates)
    raise DriverError(
        f"the energy of the model in {script.file_name} does not depend on the coordinates through autograd, so "
        "there are no forces; do not detach or convert coordinates in the model, or let it return the forces itself"
    )
