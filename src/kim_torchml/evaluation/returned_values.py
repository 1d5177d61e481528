# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the numbers that a model returns may be, and the errors for everything else."""

from enum import Enum

import numpy as np
import torch

from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import ModelDescription


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


def probe_layout(
    energy: torch.Tensor, rows: int, contributing: int, file_name: str, is_of_rows: bool = False
) -> EnergyLayout:
    """Return the layout of an energy.

    Args:
        energy: What the model returned for a configuration in which 1, `rows` and `contributing` differ.
        rows: Number of particles the model was given.
        contributing: Number of contributing ones.
        file_name: For the message.
        is_of_rows: Whether models of this kind must return an energy for each row.
    Raises:
        DriverError: If the energy has another number of entries.
    """
    if is_of_rows and energy.numel() != rows:
        raise DriverError(
            f"the energy of the model in {file_name} must have one entry for each of the {rows} rows, also for those "
            f"that do not contribute, got the shape {list(energy.shape)}; return one energy for each row"
        )
    for layout in EnergyLayout:
        if energy.numel() == layout.count(rows, contributing):
            return layout
    raise DriverError(
        f"the energy of the model in {file_name} must have 1, {rows} (particles) or {contributing} (contributing "
        f"particles) entries, got the shape {list(energy.shape)}; return the total or one energy per particle"
    )


def check_declared(layout: EnergyLayout, model: ModelDescription, file_name: str) -> None:
    """Check the layout that a probe found against what the model's files say.

    Args:
        layout: The layout.
        model: What the files say.
        file_name: Name of the model's file.
    Raises:
        DriverError: If they disagree.
    """
    if model.energy_per_particle is None:
        return
    is_total = layout is EnergyLayout.TOTAL
    if is_total == model.energy_per_particle:
        stated, found = ("per particle", "one number") if is_total else ("total", layout.value)
        raise DriverError(
            f'the energy of the model in {file_name} must be "{stated}", as {model.file_name} says, got {found}; '
            "correct `energy` there, or the model"
        )


def check_entries(energy: torch.Tensor, layout: EnergyLayout, rows: int, contributing: int, file_name: str) -> None:
    """Check that an energy still has the layout that the probe found.

    Raises:
        DriverError: If it has not.
    """
    expected = layout.count(rows, contributing)
    if energy.numel() != expected:
        raise DriverError(
            f"the energy of the model in {file_name} must have {expected} entries ({layout.value}), got the shape "
            f"{list(energy.shape)} for {rows} particles, {contributing} of them contributing"
        )


def check_forces(forces: torch.Tensor, rows: int, file_name: str) -> torch.Tensor:
    """Return a model's own forces in the shape [rows, 3].

    Raises:
        DriverError: If there are not that many.
    """
    if list(forces.shape) not in ([rows, 3], [3 * rows]):
        raise DriverError(
            f"the forces of the model in {file_name} must have the shape [{rows}, 3] or [{3 * rows}], got "
            f"{list(forces.shape)}; return the forces on all particles that the model was given"
        )
    return forces.reshape(rows, 3)


def check_finite(values: np.ndarray, what: str, file_name: str, advice: str = "") -> None:
    """Check a result, one number or one row per particle.

    Args:
        values: The result.
        what: What it is, for the message.
        file_name: Name of the model's file.
        advice: What a user can do about it, beside the usual.
    Raises:
        DriverError: Naming the first particle whose numbers are not finite, and the likely reasons.
    """
    finite = np.isfinite(values)
    if finite.all():
        return
    first = np.argwhere(~finite)[0]
    where = f" for particle {first[0]}" if len(first) else ""
    found = "NaN" if np.isnan(values[tuple(first)]) else "infinity"
    raise DriverError(
        f"the {what} of the model in {file_name} must be finite, got {found}{where}; "
        f"{f'{advice}; otherwise ' if advice else ''}look for "
        "particles that are too close to each other, or for a division by zero in the model"
    )


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return numbers that follow from what a model returned as an array, float64."""
    return tensor.to("cpu", torch.float64).numpy()
