# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a TorchScript file shows that stands alone."""

import torch

from kim_torchml.engines.facts import ProgramFacts, TensorFacts, type_word
from kim_torchml.engines.torchscript.archive import extra_files
from kim_torchml.engines.torchscript.program import TorchScriptProgram


def describe_torchscript(content: bytes, file_name: str) -> ProgramFacts:
    """Return what a TorchScript file shows; see describe_program."""
    program = TorchScriptProgram(content, file_name, torch.device("cpu"))
    return ProgramFacts(
        format="TorchScript",
        arguments=tuple(program.argument_names()),
        n_required=program.n_inputs,
        dtype=type_word(program.dtype),
        tensors=tuple(
            TensorFacts(name, type_word(tensor.dtype), tuple(tensor.shape))
            for name, tensor in program.tensors().items()
        ),
        extra_files=tuple(extra_files(content)),
    )
