# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model returns, made into KIM's outputs: the one place that knows their shapes and signs."""

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch

from kim_torchml import settings
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs, Particles
from kim_torchml.torch_runtime import ScriptModel


class EnergyLayout(Enum):
    """What the entries of a model's energy stand for."""

    TOTAL = "the total"
    ALL = "one per particle"
    CONTRIBUTING = "one per contributing particle"

    def count(self, rows: int, contributing: int) -> int:
        """Return the number of entries that this layout has."""
        if self is EnergyLayout.TOTAL:
            return 1
        return rows if self is EnergyLayout.ALL else contributing


def probe_layout(energy: torch.Tensor, rows: int, contributing: int, file_name: str) -> EnergyLayout:
    """Return the layout of an energy.

    Args:
        energy: What the model returned for a configuration in which 1, `rows` and `contributing` differ.
        rows: Number of particles the model was given.
        contributing: Number of contributing ones.
        file_name: For the message.
    Raises:
        DriverError: If the energy has another number of entries.
    """
    for layout in EnergyLayout:
        if energy.numel() == layout.count(rows, contributing):
            return layout
    raise DriverError(
        f"the energy of the model in {file_name} must have 1, {rows} (particles) or {contributing} (contributing "
        f"particles) entries, got the shape {list(energy.shape)}; return the total or one energy per particle"
    )


@dataclass(frozen=True)
class Evaluation:
    """A model's answer in KIM's terms.

    Attributes:
        energy: Partial energy, eV.
        particle_energies: Shape [n], float64, eV, 0 for non-contributing particles; None if they were not asked for.
        forces: Partial forces on all particles, shape [n, 3], float64, eV/Å; None if they were not asked for.
    """

    energy: float
    particle_energies: np.ndarray | None
    forces: np.ndarray | None


def _write_energy(evaluation: Evaluation, out: np.ndarray) -> None:
    out[0] = evaluation.energy


def _write_forces(evaluation: Evaluation, out: np.ndarray) -> None:
    out[:] = evaluation.forces


def _write_particle_energies(evaluation: Evaluation, out: np.ndarray) -> None:
    out[:] = evaluation.particle_energies


# KIM's name of an output -> what writes it. A new output is one line here.
WRITERS: dict[str, Callable[[Evaluation, np.ndarray], None]] = {
    "partialEnergy": _write_energy,
    "partialForces": _write_forces,
    "partialParticleEnergy": _write_particle_energies,
}


def supported_outputs(layout: EnergyLayout) -> set[str]:
    """Return KIM's names of the outputs that a model with this layout can give."""
    without = {"partialParticleEnergy"} if layout is EnergyLayout.TOTAL else set()
    return set(WRITERS) - without


def split_result(result: Any, returns_forces: bool, file_name: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (energy, forces or None) out of what a model returned.

    Raises:
        DriverError: If that is not what the parameter file says.
    """
    if isinstance(result, torch.Tensor) and not returns_forces:
        return _real(result, "energy", file_name), None
    is_pair = isinstance(result, tuple | list) and len(result) == 2
    if is_pair and returns_forces and all(isinstance(part, torch.Tensor) for part in result):
        return _real(result[0], "energy", file_name), _real(result[1], "forces", file_name)
    expected = "a pair of tensors (energy, forces)" if returns_forces else "one tensor, the energy"
    raise DriverError(
        f"the model in {file_name} must return {expected}, as the parameter file says (returns forces: "
        f"{str(returns_forces).lower()}), got {_describe(result)}; correct that line or the model"
    )


def _real(tensor: torch.Tensor, what: str, file_name: str) -> torch.Tensor:
    if tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta:
        return tensor
    raise DriverError(
        f"the {what} of the model in {file_name} must be a dense tensor of real floating-point numbers, got one of "
        f"{tensor.dtype}, {tensor.layout}, on {tensor.device}; convert it before returning it"
    )


def _describe(result: Any) -> str:
    if isinstance(result, torch.Tensor):
        return f"a tensor of shape {list(result.shape)}"
    if isinstance(result, tuple | list):
        return f"{len(result)} values ({', '.join(type(part).__name__ for part in result)})"
    return f"a {type(result).__name__}"


def evaluate(
    script: ScriptModel,
    inputs: ModelInputs,
    particles: Particles,
    layout: EnergyLayout,
    returns_forces: bool,
    requested: Container[str],
) -> Evaluation:
    """Call a model and, if forces are requested, differentiate its energy once.

    Args:
        script: The model.
        inputs: What it is called with.
        particles: What the inputs were made from.
        layout: What the entries of its energy stand for.
        returns_forces: Whether it returns (energy, forces).
        requested: KIM's names of the outputs that were asked for.
    Returns:
        Energy, particle energies and forces, all finite.
    Raises:
        DriverError: If the model fails, or returns a wrong shape, NaN or infinity.
    """
    energy, model_forces = split_result(script(*inputs.arguments), returns_forces, script.file_name)
    _check_entries(energy, inputs, particles, layout, script.file_name)
    contributing = _of_contributing(energy.reshape(-1), inputs, particles, layout)
    # In double precision, so that many float32 energies do not lose digits.
    total = contributing[0] if layout is EnergyLayout.TOTAL else contributing.to(torch.float64).sum()
    value = total.item()
    if not math.isfinite(value):
        raise _not_finite(np.asarray(value), "energy", script)
    energies = None
    if "partialParticleEnergy" in requested:
        energies = np.zeros(len(particles))
        energies[particles.contributing] = _to_numpy(contributing)
    forces = None
    if "partialForces" in requested:
        if model_forces is not None:
            rows = _check_forces(model_forces, inputs, script.file_name)
        else:
            rows = _minus_gradient(total, inputs, script)
        forces = _to_numpy(inputs.by_particle(rows, len(particles)))
        if not np.isfinite(forces).all():
            raise _not_finite(forces, "forces", script)
    return Evaluation(value, energies, forces)


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _check_entries(
    energy: torch.Tensor, inputs: ModelInputs, particles: Particles, layout: EnergyLayout, file_name: str
) -> None:
    rows, contributing = inputs.coordinates.shape[0], int(np.count_nonzero(particles.contributing))
    expected = layout.count(rows, contributing)
    if energy.numel() != expected:
        raise DriverError(
            f"the energy of the model in {file_name} must have {expected} entries ({layout.value}), got the shape "
            f"{list(energy.shape)} for {rows} particles, {contributing} of them contributing"
        )


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


def _minus_gradient(energy: torch.Tensor, inputs: ModelInputs, script: ScriptModel) -> torch.Tensor:
    """Return -dE/dr of all rows, shape [rows, 3]."""
    gradient = None
    if energy.requires_grad:
        with script.explained_errors():
            (gradient,) = torch.autograd.grad(energy, inputs.coordinates, allow_unused=True)
    if gradient is not None:
        return -gradient
    if inputs.n_pairs == 0:
        return torch.zeros_like(inputs.coordinates)
    raise DriverError(
        f"the energy of the model in {script.file_name} does not depend on the coordinates through autograd, so "
        "there are no forces; do not detach or convert coordinates in the model, or let it return the forces itself"
    )


def _check_forces(forces: torch.Tensor, inputs: ModelInputs, file_name: str) -> torch.Tensor:
    rows = len(inputs.coordinates)
    if list(forces.shape) not in ([rows, 3], [3 * rows]):
        raise DriverError(
            f"the forces of the model in {file_name} must have the shape [{rows}, 3] or [{3 * rows}], got "
            f"{list(forces.shape)}; return the forces on all particles that the model was given"
        )
    return forces.reshape(rows, 3)


def _not_finite(values: np.ndarray, what: str, script: ScriptModel) -> DriverError:
    first = np.argwhere(~np.isfinite(values))[0]
    where = f" for particle {first[0]}" if len(first) else ""
    found = "NaN" if np.isnan(values[tuple(first)]) else "infinity"
    number_hint = (
        "if it was trained on atomic numbers, set KIM_MODEL_ELEMENTS_MAP=1; otherwise "
        if not settings.wants_atomic_numbers()
        else ""
    )
    return DriverError(
        f"the {what} of the model in {script.file_name} must be finite, got {found}{where}; {number_hint}look for "
        "particles that are too close to each other, or for a division by zero in the model"
    )
