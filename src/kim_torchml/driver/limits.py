# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limits that a model sets itself: beyond them its numbers mean little, which nobody would see from these."""

from collections.abc import Callable, Iterator

from kim_torchml.errors import DriverError
from kim_torchml.inputs import Neighbours
from kim_torchml.model_files.description import Limits, ModelDescription


class LimitCheck:
    """Checks each configuration against a model's limits."""

    def __init__(self, model: ModelDescription, warn: Callable[[str], None]) -> None:
        """Keep the limits.

        Args:
            model: What the model's files say.
            warn: What to do with the one sentence about the first configuration beyond a limit.
        """
        self._limits = model.limits
        self._said_in = f"{model.file_name} of the model in {model.model_file}"
        self._warn = warn

    def check(self, neighbours: Neighbours, step: int) -> None:
        """Check a configuration whose neighbours have been asked for.

        Args:
            neighbours: Its neighbours.
            step: Number of the compute.
        Raises:
            DriverError: If it is beyond a limit, and the model says that this is an error.
        """
        # Another thread may take the limits away meanwhile.
        limits = self._limits
        if limits is None:
            return
        found = next(self._beyond(limits, neighbours), "")
        if not found:
            return
        sentence = f"{found} at compute {step}"
        if limits.stop:
            raise DriverError(f"{sentence}; correct the configuration, or the limits")
        self._warn(f"{sentence}; the model was not made for this, and its results are doubtful")
        # One warning is enough: the next steps are likely to be beyond the limit as well.
        self._limits = None

    def _beyond(self, limits: Limits, neighbours: Neighbours) -> Iterator[str]:
        pair = neighbours.closest_pair()
        if pair is not None and pair[2] < limits.smallest_distance:
            first, second, distance = pair
            yield (
                f"the distance of two particles must be at least {limits.smallest_distance:g} Å, as "
                f"`smallest_distance` says in {self._said_in}, got {distance:.6g} Å between particles {first} "
                f"and {second}"
            )
        most = neighbours.most_neighbours()
        if most is not None and limits.most_neighbours is not None and most[1] > limits.most_neighbours:
            particle, count = most
            yield (
                f"a particle must have at most {limits.most_neighbours} neighbours, as `most_neighbours` says in "
                f"{self._said_in}, got {count} for particle {particle}"
            )
