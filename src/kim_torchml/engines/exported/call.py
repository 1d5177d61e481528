# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a program was exported for the tensors that it is to be called with.

Torch's own loader checks each call. A program that was exported for certain sizes has them in its arithmetic, so that
it would be silently wrong for others.
"""

from kim_torchml.engines.contract import CallArgument, CallSignature
from kim_torchml.engines.exported.graph import InputFacts, ProgramGraph
from kim_torchml.errors import DriverError, shortened


def check_call(graph: ProgramGraph, file_name: str, signature: CallSignature) -> None:
    """Raise DriverError if a program takes other tensors than it is to be called with.

    Args:
        graph: The program.
        file_name: Name of its file, for messages.
        signature: What it is to be called with.
    """
    expected, found = len(signature.arguments), len(graph.inputs)
    if found != expected:
        raise DriverError(
            f"the model in {file_name} must take {expected} inputs, as {signature.source}, but its forward takes "
            f"{found}; correct what that file says, or the model"
        )
    word_of: dict[str, str] = {}
    for argument, facts in zip(signature.arguments, graph.inputs, strict=True):
        dtype = argument.dtype or signature.dtype or facts.dtype
        if facts.dtype is not dtype or len(facts.sizes) != len(argument.sizes):
            raise DriverError(
                f"the model in {file_name} is called with {argument.name} {_shape(argument)} of {dtype}, as "
                f"{signature.source}, but was exported for {_exported(facts)} of {facts.dtype}; correct what that file "
                "says, or export the model for such tensors"
            )
        for said, size in zip(argument.sizes, facts.sizes, strict=True):
            if isinstance(said, int):
                fits = size == said
            else:
                # A size of two words is one that the program was exported for if both are the same.
                fits = isinstance(size, str) and word_of.setdefault(size, said) == said
            if not fits:
                raise DriverError(
                    f"the model in {file_name} is called with {argument.name} {_shape(argument)}, but was exported for "
                    f"{_exported(facts)}; export it with dynamic_shapes that leave each of these sizes free, such as "
                    'torch.export.Dim("n", min=0)'
                )


def _shape(argument: CallArgument) -> str:
    return f"[{', '.join(map(str, argument.sizes))}]"


def _exported(facts: InputFacts) -> str:
    sizes = ", ".join("an expression" if each is None else str(each) for each in facts.sizes)
    return f"{shortened(facts.name)} [{sizes}]"
