# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every kind of input shares: the particles that it is built from, and the tensors that it gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
import torch

from kim_torchml.errors import shortened
from kim_torchml.inputs.folding import Folding, ParticleList
from kim_torchml.inputs.joint import JointFolding, JointRows
from kim_torchml.inputs.signature import Argument, Signature
from kim_torchml.model_files.description import KindFormat
from kim_torchml.model_files.elements import ATOMIC_NUMBERS
from kim_torchml.model_files.model_folder import ModelFolder

# Name of the argument that tells the chemical element of each row.
SPECIES = "species"


class Neighbours(Protocol):
    """Neighbour lists of one configuration, filtered to a cutoff on request; valid during one compute."""

    def of_contributing(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (counts int32 [contributing], neighbours int32 [sum of counts]), in ascending particle order."""

    def staged_edges(self, cutoff: float, n_layers: int) -> list[np.ndarray]:
        """Return E_1 ... E_L, each int64 [2, E_k], sorted by (first, second)."""

    def edges(self, cutoff: float, n_layers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return one set of edges that serves all layers; see `EdgeSet` for the four arrays.

        Rows are the contributing particles and what they reach in n_layers steps, in ascending particle order. Every
        row that is reached in fewer steps has all its edges. Edges are sorted by (centre, neighbour).
        """

    def folded_edges(
        self, cutoff: float, row_of_particle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return the edges from contributing particles, between rows that may stand for several particles.

        They serve all layers where the row of an image is that of its owner. Edges are sorted by the particles (centre,
        neighbour).

        Args:
            cutoff: Longest edge, Å.
            row_of_particle: Row of each particle, shape [n], int64; -1 where it has none.
        Returns:
            (edge_index, particles, vectors) as in `EdgeSet`; None where an edge meets a particle without a row.
        """

    def reached(self, cutoff: float) -> np.ndarray:
        """Return which particles contribute or are within the cutoff of one that does, bool [n]."""

    def closest_pair(self) -> tuple[int, int, float] | None:
        """Return (first, second, distance in Å) of the closest pair in lists that were asked for, or None."""

    def most_neighbours(self) -> tuple[int, int] | None:
        """Return (particle, count) of the particle with the most neighbours; None before lists were asked for."""


@dataclass(frozen=True)
class EdgeSet:
    """Edges with both directions of every pair, and the particles that their forces act on.

    Attributes:
        particle_of_row: particle that each row stands for, shape [rows], int64.
        edge_index: rows of the centre and of the neighbour of each edge, shape [2, E], int64.
        particles: particles that are its ends, shape [2, E], int64: images are particles of their own, also where their
            owner's row stands for them.
        vectors: from the centre to the neighbour, shape [E, 3], float64, Å.
    """

    particle_of_row: np.ndarray
    edge_index: np.ndarray
    particles: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class ComputeMemory:
    """What is known of the owners of images from earlier configurations of one simulation.

    Attributes:
        folding: in one process.
        joint: where several ranks compute together.
    """

    folding: Folding = field(default_factory=Folding)
    joint: JointFolding = field(default_factory=JointFolding)


@dataclass(frozen=True)
class Particles(ParticleList):
    """One configuration, as KIM gives it: the list of its particles, with their neighbours.

    Attributes:
        neighbours: neighbour lists of these particles.
        folding: what is known of the owners of images from earlier configurations of the same simulation.
        joint: likewise, where several ranks compute together.
    """

    neighbours: Neighbours
    folding: Folding = field(default_factory=Folding)
    joint: JointFolding = field(default_factory=JointFolding)
    _lists: dict[float, tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def n_contributing(self) -> int:
        """Number of contributing particles."""
        return int(np.count_nonzero(self.contributing))

    def neighbour_lists(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """Return what `Neighbours.of_contributing` gives; it is asked for once, however often this is called."""
        if cutoff not in self._lists:
            self._lists[cutoff] = self.neighbours.of_contributing(cutoff)
        return self._lists[cutoff]


@dataclass(frozen=True)
class ModelInputs:
    """The tensors that a model is called with.

    Attributes:
        arguments: arguments of the model's forward, in order.
        leaf: tensor that the energy is differentiated by: one of `arguments`, or what they were made from.
        n_rows: number of rows: nodes as the model sees them.
        contributing_rows: rows that stand for contributing particles, in the order of the particles: a slice, or bool
            of shape [rows].
        particle_of_row: particle that each row stands for, shape [rows]; None where row i is particle i. Rows beyond
            its length stand for none.
        n_pairs: number of pairs within the cutoff; with none, the energy does not depend on coordinates.
        edges: edges whose vectors are the leaf; None where the leaf is coordinates of rows.
        joint_rows: rows that are copies of other ranks', and what these have of this one; None where there are none.
    """

    arguments: tuple[torch.Tensor, ...]
    leaf: torch.Tensor
    n_rows: int
    contributing_rows: slice | torch.Tensor
    particle_of_row: torch.Tensor | None
    n_pairs: int
    edges: EdgeSet | None = None
    joint_rows: JointRows | None = None

    def by_particle(self, rows: torch.Tensor, n: int) -> torch.Tensor:
        """Return values of rows [rows, ...] added to the particles that they stand for, shape [n, ...]."""
        if self.particle_of_row is None:
            return rows
        # Unlike 0.0, -0.0 leaves the sign of a zero that is added to it.
        values = rows.new_full((n, *rows.shape[1:]), -0.0)
        return values.index_add_(0, self.particle_of_row, rows[: len(self.particle_of_row)])


@dataclass(frozen=True)
class PairInputs:
    """Inputs in which every pair has a copy of its second particle, so that a row's gradient is the pair's.

    Attributes:
        model: inputs of the model; the last p rows of their leaf are the pairs' second particles.
        first: first particle of each pair, which contributes, shape [p].
        second: second particle of each pair, shape [p].
    """

    model: ModelInputs
    first: np.ndarray
    second: np.ndarray


class InputKind(ABC):
    """Builds a model's inputs. A new kind is a subclass in a file of its own, and a line in `inputs/__init__.py`.

    Attributes:
        file_format: what the files of models of this kind say.
        leaf: name of the tensor that energies are differentiated by.
        what_moves: what that tensor holds, for messages.
        other_way_to_forces: what else than a derivative can give forces, as the end of a message.
        remedy_of_doubt: what to do about a model whose energy depends on which other particles contribute.
        influence_distance: distance beyond which nothing acts on a contributing particle's energy, Å.
        needs_noncontributing_neighbours: whether `build` asks for neighbours of non-contributing particles.
        model: what the model's files say.
    """

    file_format: ClassVar[KindFormat]
    leaf: ClassVar[str] = "coordinates"
    what_moves: ClassVar[str] = "coordinates"
    other_way_to_forces: ClassVar[str] = ", or let it return the forces itself"
    remedy_of_doubt: ClassVar[str] = (
        "the model must leave out particles that do not contribute, which the last argument of its forward tells"
    )
    needs_noncontributing_neighbours = False

    def __init__(self, files: ModelFolder) -> None:
        """Keep what a model's files say."""
        model = files.description
        self.cutoff = model.cutoff
        self.influence_distance = model.cutoff
        self.model = model
        codes = range(len(model.species))
        species = [ATOMIC_NUMBERS[symbol] for symbol in model.species] if model.atomic_numbers else codes
        self._species_of_code = np.array(species, dtype=np.int64)

    @property
    def description(self) -> str:
        """What to add to an error that a model raises when it is called with these inputs.

        That is nothing where the error gives the number of inputs already, which the model's files say.
        """
        if self.model.counts_inputs:
            return ""
        *others, last = (f"{each.name} [{', '.join(map(str, each.sizes))}]" for each in self.arguments)
        called = f"{', '.join(others)} and {last}" if others else last
        return f"the model is called with {shortened(called)}, floating numbers in {self.model.dtype}"

    @property
    def way(self) -> str:
        """Which of several ways these inputs are built in, for people; empty where there is no choice."""
        return ""

    @property
    def n_species(self) -> int:
        """Number of chemical elements that the model knows."""
        return len(self._species_of_code)

    @property
    def gives_species_codes(self) -> bool:
        """Whether the model is called with species codes; a model without species, or with atomic numbers, is not."""
        return not self.model.atomic_numbers and any(argument.name == SPECIES for argument in self.arguments)

    @property
    @abstractmethod
    def arguments(self) -> tuple[Argument, ...]:
        """What `build` makes, in the order of the model's forward."""

    @property
    def signature(self) -> Signature:
        """What the model is called with, and what its files say that it returns."""
        model = self.model
        dtype = None if model.dtype is None else getattr(torch, model.dtype)
        return Signature(
            self.arguments, self.leaf, model.returns_forces, model.inputs_stated, model.returns_stated, dtype
        )

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


def rows_that_contribute(
    particles: Particles, device: torch.device, particle_of_row: np.ndarray | None = None
) -> slice | torch.Tensor:
    """Return which rows of a model stand for contributing particles, which all have a row.

    Args:
        particles: The particles.
        device: The model's.
        particle_of_row: Particle that each row stands for, shape [rows]; by default, row i is particle i.
    """
    contributing, count = particles.contributing, particles.n_contributing
    if particle_of_row is not None:
        contributing = contributing[particle_of_row]
    # Simulators mostly put contributing particles first: a slice is much cheaper than a mask.
    return slice(0, count) if contributing[:count].all() else to_tensor(contributing, device)
