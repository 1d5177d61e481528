# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's outputs: what each one needs of a model, and how it is written in the simulator's units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from kim_torchml.driver.output_shapes import ENERGY, FORCES, PARTICLE_ENERGIES, PARTICLE_VIRIALS, VIRIAL
from kim_torchml.driver.units import Units
from kim_torchml.evaluation.evaluate import Evaluation, Quantity
from kim_torchml.evaluation.returned_values import check_finite


@dataclass(frozen=True)
class Output:
    """How one of KIM's outputs is made.

    Attributes:
        needs: quantity that it is made from; None for the energy alone.
        value: function that returns it in eV and Å.
        unit: function that returns the factor from eV or eV/Å to the simulator's unit.
    """

    needs: Quantity | None
    value: Callable[[Evaluation], np.ndarray | None]
    unit: Callable[[Units], float]


def _in_energy(units: Units) -> float:
    return units.energy


# A new output is one line here, one in output_shapes.py and one in the shim's all_outputs().
OUTPUTS = {
    ENERGY: Output(None, lambda found: found.energy, _in_energy),
    FORCES: Output(Quantity.FORCES, lambda found: found.forces, lambda units: units.force),
    PARTICLE_ENERGIES: Output(Quantity.PARTICLE_ENERGIES, lambda found: found.particle_energies, _in_energy),
    VIRIAL: Output(Quantity.VIRIAL, lambda found: found.virial, _in_energy),
    PARTICLE_VIRIALS: Output(Quantity.PARTICLE_VIRIALS, lambda found: found.particle_virials, _in_energy),
}


def needed_quantities(names: Mapping[str, np.ndarray]) -> set[Quantity]:
    """Return what the outputs of these names are made from, apart from the energy."""
    return {need for name in names if (need := OUTPUTS[name].needs) is not None}


def supported_outputs(quantities: set[Quantity]) -> set[str]:
    """Return KIM's names of the outputs of a model that gives these beside its energy."""
    return {name for name, output in OUTPUTS.items() if output.needs is None or output.needs in quantities}


def write_outputs(
    evaluation: Evaluation, units: Units, outputs: Mapping[str, np.ndarray], file_name: str, advice: str
) -> None:
    """Overwrite the simulator's arrays.

    Args:
        evaluation: What was found, in eV and Å.
        units: The simulator's.
        outputs: KIM's name of each output that was asked for, and its array, of the shape in output_shapes.py.
        file_name: The model's, for messages.
        advice: What a user can do about numbers that are not finite, beside the usual.
    Raises:
        DriverError: If a number is too large in the simulator's units; then nothing has been written.
    """
    values = {name: _converted(name, evaluation, units, file_name, advice) for name in outputs}
    for name, out in outputs.items():
        out[:] = values[name]


def _converted(name: str, evaluation: Evaluation, units: Units, file_name: str, advice: str) -> np.ndarray:
    output = OUTPUTS[name]
    with np.errstate(over="ignore", invalid="ignore"):
        value = output.value(evaluation)
        if value is None:
            raise ValueError(f"{name} was asked for, but {output.needs} not evaluated")
        unit = output.unit(units)
        converted: np.ndarray = value if unit == 1.0 else value * unit
    check_finite(converted, name, file_name, advice)
    return converted
