# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kind edges: the model gets the vectors of edges, and energies are differentiated by these.

Arguments: species [n], edge_index [2, E] (centre, neighbour), edge_vectors [E, 3] = r[neighbour] - r[centre].

Staged, every particle that layers reach is a row. Folded, rows are the contributing particles alone, each of which
stands for its images too; forces act on the images all the same, as simulators expect it.
"""

import copy
from functools import partial

import torch

from kim_torchml.inputs.base import SPECIES, EdgeSet, InputKind, ModelInputs, Particles, rows_that_contribute, to_tensor
from kim_torchml.inputs.folding import FoldingRefusedError
from kim_torchml.inputs.joint import JointRows, Ranks
from kim_torchml.inputs.signature import Argument
from kim_torchml.model_files.description import KindFormat
from kim_torchml.model_files.model_folder import ModelFolder

_VECTORS = "edge_vectors"


class EdgeInputs(InputKind):
    """One set of edges for all layers.

    Attributes:
        n_layers: number of layers.
        is_folded: whether rows are the contributing particles alone.
        ranks: ranks that exchange features of their particles before each layer but the first; None for none.
    """

    file_format = KindFormat(
        n_inputs=3, has_layers=True, in_parameter_files=False, one_energy_per_row=True, may_be_exported=True
    )
    leaf = _VECTORS
    what_moves = "edge vectors"
    other_way_to_forces = ""
    remedy_of_doubt = (
        "the energy of a row may depend only on what edges lead to in as many steps as there are layers: correct "
        "`layers`, or the model"
    )

    def __init__(self, files: ModelFolder) -> None:
        """Keep what the model's files say."""
        super().__init__(files)
        self._set_layers(files.description.n_layers)

    def _set_layers(self, n_layers: int) -> None:
        """Let each layer reach one cutoff farther."""
        self.n_layers = n_layers
        self.is_folded = False
        self.ranks: Ranks | None = None
        self.influence_distance = self.cutoff * n_layers
        self.needs_noncontributing_neighbours = n_layers > 1

    def with_layers(self, n_layers: int) -> "EdgeInputs":
        """Return a builder of inputs for another number of layers."""
        deeper = copy.copy(self)
        deeper._set_layers(n_layers)
        return deeper

    def folded(self) -> "EdgeInputs":
        """Return a builder of the same inputs with one row for a particle and all of its images."""
        shallow = copy.copy(self)
        shallow.is_folded = True
        shallow.influence_distance = self.cutoff
        shallow.needs_noncontributing_neighbours = False
        return shallow

    def exchanging(self, ranks: Ranks) -> "EdgeInputs":
        """Return a builder of inputs whose rows are this rank's particles, and copies of other ranks' next to them."""
        shallow = self.folded()
        shallow.is_folded = False
        shallow.ranks = ranks
        return shallow

    @property
    def way(self) -> str:
        """What becomes of images and of other ranks' particles, where more than one layer makes a difference."""
        if self.n_layers == 1:
            return ""
        if self.ranks is not None:
            return f"{self.n_layers} layers, exchanged between ranks"
        return f"{self.n_layers} layers {'folded' if self.is_folded else 'staged'}"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Species, and the edges with their vectors."""
        return (
            Argument(SPECIES, ("n",)),
            Argument("edge_index", (2, "E"), below="n"),
            Argument(_VECTORS, ("E", 3), None),
        )

    def build(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Return the model's inputs."""
        joint_rows, edges = None, None
        if self.ranks is not None:
            joint_rows, edges = self._joint_edges(particles, self.ranks)
        elif self.is_folded:
            edges = self._folded_if_possible(particles)
        if edges is None:
            edges = EdgeSet(*particles.neighbours.edges(self.cutoff, self.n_layers))
        rows = edges.particle_of_row
        # Differences are taken in double precision; the model may change its copy.
        vectors = to_tensor(edges.vectors, device).to(dtype, copy=True).requires_grad_(True)
        arguments = (
            self.species(particles.species_codes[rows], device),
            to_tensor(edges.edge_index, device),
            vectors,
        )
        return ModelInputs(
            arguments,
            vectors,
            n_rows=len(rows),
            contributing_rows=rows_that_contribute(particles, device, rows),
            particle_of_row=to_tensor(rows, device),
            n_pairs=len(edges.vectors),
            edges=edges,
            joint_rows=joint_rows,
        )

    def _folded_if_possible(self, particles: Particles) -> EdgeSet | None:
        """Return the edges between rows of owners; None where there are none and one layer can do without.

        Raises:
            FoldingRefusedError: If there are no proven owners, and the halo is too shallow without.
        """
        if self.n_layers > 1:
            return self._folded_edges(particles)
        if particles.folding.is_given_up:
            return None
        try:
            return self._folded_edges(particles)
        except FoldingRefusedError:
            # To look for owners takes longer than a step of a small network, and the next list is much the same.
            particles.folding.is_given_up = True
            return None

    def _joint_edges(self, particles: Particles, ranks: Ranks) -> tuple[JointRows, EdgeSet]:
        """Return the rows of this rank, and the edges of its own particles; all ranks must call this.

        Raises:
            FoldingRefusedError: If there are no proven owners.
        """
        neighbours = particles.neighbours
        for _ in range(2):
            rows = particles.joint.rows(particles, self.cutoff, partial(neighbours.reached, self.cutoff), ranks)
            edges = neighbours.folded_edges(self.cutoff, rows.row_of_particle)
            # A particle without a row may have come near enough for an edge since rows were found.
            if ranks.all_are(edges is not None) and edges is not None:
                return rows, EdgeSet(rows.particle_of_row, *edges)
            particles.joint.forget()
        raise _changing_lists()

    def _folded_edges(self, particles: Particles) -> EdgeSet:
        """Return the edges between rows of owners.

        Raises:
            FoldingRefusedError: If there are no proven owners.
        """
        neighbours = particles.neighbours
        # Since the last inference a particle without an owner may have come near enough for an edge: then the owners
        # are inferred again, of all that have one.
        for _ in range(2):
            rows = particles.folding.rows(particles, self.cutoff, partial(neighbours.reached, self.cutoff))
            edges = neighbours.folded_edges(self.cutoff, rows.row_of_particle)
            if edges is not None:
                return EdgeSet(particles.own, *edges)
            particles.folding.forget()
        raise _changing_lists()


def _changing_lists() -> FoldingRefusedError:
    return FoldingRefusedError(
        "neighbour lists must stay as they are during one compute, got others", "let no other thread change them"
    )
