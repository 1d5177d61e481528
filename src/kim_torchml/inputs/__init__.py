# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of input that models take: one file each, registered here under the parameter file's word."""

from kim_torchml.errors import DriverError
from kim_torchml.inputs.base import InputKind, ModelInputs, Neighbours, Particles
from kim_torchml.inputs.graph import GraphInputs
from kim_torchml.inputs.raw import RawInputs
from kim_torchml.parameter_file import ParameterFile

KINDS: dict[str, type[InputKind]] = {
    "None": RawInputs,
    "Graph": GraphInputs,
}


def make_inputs(parameters: ParameterFile, atomic_numbers: bool) -> InputKind:
    """Return the builder for a model's kind of input.

    Args:
        parameters: The model's parameter file.
        atomic_numbers: Whether the model gets atomic numbers instead of species codes, where its kind allows.
    Raises:
        DriverError: If this version does not have that kind.
    """
    if parameters.preprocessing not in KINDS:
        raise DriverError(
            f"`preprocessing` must be one that this version runs ({', '.join(KINDS)}), got "
            f"'{parameters.preprocessing}'; update the driver when a version with it is out"
        )
    return KINDS[parameters.preprocessing](parameters, atomic_numbers)


__all__ = ["KINDS", "InputKind", "ModelInputs", "Neighbours", "Particles", "make_inputs"]
