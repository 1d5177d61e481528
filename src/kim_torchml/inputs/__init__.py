# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of input that models take: one file each, registered here under the word that model files use."""

from kim_torchml.inputs.base import (
    ComputeMemory,
    EdgeSet,
    InputKind,
    ModelInputs,
    Neighbours,
    PairInputs,
    PairKind,
    Particles,
)
from kim_torchml.inputs.descriptor import DescriptorInputs
from kim_torchml.inputs.edges import EdgeInputs
from kim_torchml.inputs.graph import GraphInputs
from kim_torchml.inputs.raw import RawInputs
from kim_torchml.inputs.signature import Argument, Signature
from kim_torchml.model_files.model_folder import ModelFolder

KINDS: dict[str, type[InputKind]] = {
    "None": RawInputs,
    "Descriptor": DescriptorInputs,
    "Graph": GraphInputs,
    "Edges": EdgeInputs,
}


FILE_FORMATS = {word: kind.file_format for word, kind in KINDS.items()}


def make_inputs(files: ModelFolder) -> InputKind:
    """Return the builder for a model's kind of input.

    Raises:
        DriverError: If the descriptor's file is wrong.
    """
    return KINDS[files.description.kind](files)


__all__ = [
    "FILE_FORMATS",
    "KINDS",
    "Argument",
    "ComputeMemory",
    "EdgeInputs",
    "EdgeSet",
    "InputKind",
    "ModelInputs",
    "Neighbours",
    "PairInputs",
    "PairKind",
    "Particles",
    "Signature",
    "make_inputs",
]
