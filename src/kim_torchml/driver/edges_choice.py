# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the images of a message-passing model are folded, which is settled when the model is created.

How far the simulator's halo must reach depends on it, so it cannot change during a run.
"""

from kim_torchml.errors import DriverError
from kim_torchml.inputs import EdgeInputs, InputKind
from kim_torchml.process import settings
from kim_torchml.process.rank import Rank


def chosen_inputs(kind: InputKind, rank: Rank) -> InputKind:
    """Return the builder of a model's inputs that KIM_TORCHML_EDGES asks for.

    A rank of several sees only a part of the system. Even where the owners of its images can be told, particles of
    another rank may make a crystal less regular than it seems. With one layer the halo is as deep either way: then
    nothing is refused, and images are rows of their own where their owners cannot be told.

    Args:
        kind: The model's builder, whose images are rows of their own.
        rank: This process's rank.
    Raises:
        DriverError: If the variable is no such word, or images are to be folded on several ranks.
    """
    word = settings.edges_word()
    if not isinstance(kind, EdgeInputs) or word == settings.STAGED:
        return kind
    if rank.size == 1:
        return kind.folded()
    if word == settings.FOLDED and kind.n_layers > 1:
        raise DriverError(
            f"the environment variable {settings.EDGES} must be {settings.AUTO} or {settings.STAGED} where several "
            f"processes share the system, got '{word}' in one of {rank.size} processes; unset it, or run one process"
        )
    return kind
