# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every kind of input shares: the particles it is built from, and the tensors it gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch

from kim_torchml.model_files.elements import ATOMIC_NUMBERS
from kim_torchml.model_files.model_folder import ModelFolder
from kim_torchml.model_files.parameter_file import KindFormat


class Neighbours(Protocol):
    """Neighbour lists of one configuration, filtered to a cutoff on request; valid during one compute."""

    def of_contributing(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (counts int32 [contributing], neighbours int32 [sum of counts]), in ascending particle order."""

    def staged_edges(self, cutoff: float, n_layers: int) -> list[np.ndarray]:
        """Return E_1 ... E_L, each int64 [2, E_k], sorted by (first, second)."""


@dataclass(frozen=True)
class Particles:
    """One configuration, as KIM gives it.

    Attributes:
        coordinates: Shape [n, 3], float64, Å.
        species_codes: Shape [n], int32.
        contributing: Shape [n], bool.
        neighbours: Their neighbour lists.
    """

    coordinates: np.ndarray
    species_codes: np.ndarray
    contributing: np.ndarray
    neighbours: Neighbours

    def __len__(self) -> int:
        return len(self.species_codes)


@dataclass(frozen=True)
class ModelInputs:
    """The tensors that a model is called with.

    Attributes:
        arguments: In the order of the model's forward.
        coordinates: The leaf to differentiate by, shape [rows, 3]; one of `arguments`, or what they were made from.
        particle_of_row: Particle that each row stands for, shape [rows]; None where row i is particle i. Rows
            beyond its length stand for none.
        n_pairs: Number of pairs within the cutoff: with none, the energy does not depend on coordinates.
    """

    arguments: tuple[torch.Tensor, ...]
    coordinates: torch.Tensor
    particle_of_row: torch.Tensor | None
    n_pairs: int

    def by_particle(self, rows: torch.Tensor, n: int) -> torch.Tensor:
        """Return values of rows [rows, ...], one for each particle, in the order of the particles, shape [n, ...]."""
        if self.particle_of_row is None:
            return rows
        values = rows.new_empty((n, *rows.shape[1:]))
        values[self.particle_of_row] = rows[: len(self.particle_of_row)]
        return values


@dataclass(frozen=True)
class PairInputs:
    """Inputs in which every pair has a copy of its second particle, so that a row's gradient is the pair's.

    Attributes:
        model: The model's inputs; the last p rows of its coordinates are the pairs' second particles.
        first: First particle of each pair, which contributes, shape [p].
        second: Second particle of each pair, shape [p].
    """

    model: ModelInputs
    first: np.ndarray
    second: np.ndarray


class InputKind(ABC):
    """Builds a model's inputs. A new kind is a subclass in a file of its own, and a line in `inputs/__init__.py`.

    Attributes:
        file_format: What its parameter files hold.
        influence_distance: Å.
        needs_noncontributing_neighbours: Whether `build` asks for neighbours of non-contributing particles.
    """

    file_format: ClassVar[KindFormat]
    needs_noncontributing_neighbours = False

    def __init__(self, files: ModelFolder, atomic_numbers: bool) -> None:
        """Keep what the model's files say.

        Args:
            files: The model's files.
            atomic_numbers: Whether species are atomic numbers rather than codes.
        """
        parameters = files.parameters
        self.cutoff = parameters.cutoff
        self.influence_distance = parameters.cutoff
        species = (
            [ATOMIC_NUMBERS[symbol] for symbol in parameters.elements]
            if atomic_numbers
            else range(len(parameters.elements))
        )
        self._species_of_code = np.array(species, dtype=np.int64)

    @property
    def description(self) -> str:
        """What to add to an error that a model raises when it is called with these inputs; nothing by default."""
        return ""

    @abstractmethod
    def build(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Return the model's inputs for a configuration with at least one contributing particle."""

    def species(self, codes: np.ndarray, device: torch.device) -> torch.Tensor:
        """Return the model's species for KIM's codes [n]: the codes, or atomic numbers; int64, [n]."""
        return to_tensor(self._species_of_code[codes], device)


class PairKind(InputKind):
    """A kind whose energy is a function of the vectors from contributing particles to their neighbours.

    Differentiating by each of those vectors alone gives virials by particle.
    """

    @abstractmethod
    def build_by_pair(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> PairInputs:
        """Return inputs of the same values as those of `build`."""


def to_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on a device; on the CPU they share memory."""
    tensor = torch.from_numpy(array)
    # A `to` that does nothing still costs microseconds, several times a step.
    return tensor if device.type == "cpu" else tensor.to(device)


def leaf(coordinates: np.ndarray, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return a copy of coordinates [n, 3] that can be differentiated by."""
    return to_tensor(coordinates.copy(), device).to(dtype).requires_grad_(True)
