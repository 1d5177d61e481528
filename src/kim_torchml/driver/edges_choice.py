# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of images and of other ranks' particles, which is settled when a message-passing model is created.

How far the simulator's halo must reach depends on it, so it cannot change during a run.
"""

from dataclasses import dataclass

from kim_torchml.errors import DriverError
from kim_torchml.inputs import EdgeInputs, InputKind
from kim_torchml.process import settings
from kim_torchml.process.communicator import FoundCommunicator
from kim_torchml.process.rank import Rank

_NEVER_CALLS = (
    "the model never calls torch.ops.kim_torchml.exchange; docs/parallel.md says which converted models do, and how "
    "others can"
)


@dataclass(frozen=True)
class ChosenInputs:
    """The builder of a model's inputs.

    Attributes:
        kind: the builder.
        why_staged: why ranks compute particles of others again, with what to do; empty where they do not, or where
            that was asked for.
    """

    kind: InputKind
    why_staged: str = ""


def chosen_inputs(kind: InputKind, rank: Rank, others: FoundCommunicator, n_exchanges: int) -> ChosenInputs:
    """Return the builder of a model's inputs that KIM_TORCHML_EDGES asks for.

    A rank of several sees only a part of the system. Even where the owners of its images can be told, particles of
    another rank may make a crystal less regular than it seems. With one layer the halo is as deep either way: then
    nothing is refused, and images are rows of their own where their owners cannot be told.

    Args:
        kind: The model's builder, whose images are rows of their own.
        rank: This process's rank.
        others: The ranks that compute with this one.
        n_exchanges: How often the model exchanges features with other ranks.
    Raises:
        DriverError: If the variable is no such word, or what it asks for cannot be.
    """
    word = settings.edges_word()
    if not isinstance(kind, EdgeInputs) or word == settings.STAGED:
        return ChosenInputs(kind)
    if rank.size == 1:
        return ChosenInputs(kind.folded())
    if kind.n_layers == 1:
        return ChosenInputs(kind)
    if word == settings.FOLDED:
        raise DriverError(
            f"the environment variable {settings.EDGES} must be {settings.AUTO}, {settings.EXCHANGE} or "
            f"{settings.STAGED} where several processes share the system, got '{word}' in one of {rank.size} "
            "processes; unset it, or run one process"
        )
    communicator = others.communicator
    if communicator is not None and n_exchanges:
        return ChosenInputs(kind.exchanging(communicator))
    problem = _problem(others) if n_exchanges else _NEVER_CALLS
    if word == settings.EXCHANGE:
        raise DriverError(f"ranks must exchange features, as {settings.EDGES}={word} asks, but {problem}")
    return ChosenInputs(kind, problem)


def _problem(others: FoundCommunicator) -> str:
    """Return why this rank does not know those that compute with it."""
    if others.why_not:
        return others.why_not
    if settings.communicator_word() == settings.NO_COMMUNICATOR:
        return f"{settings.COMMUNICATOR} says that they do not compute together"
    return "MPI's world is this process alone, whatever its launcher says; start it with the launcher of its own MPI"
