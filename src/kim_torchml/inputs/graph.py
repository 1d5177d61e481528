# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kind graph: the model gets coordinates and one set of edges per message-passing layer.

Arguments: species [n], coordinates [n, 3], edge_index_1 [2, E_1] ... edge_index_L [2, E_L], mask [n]
(0 = contributing, 1 = not).
"""

import numpy as np
import torch

from kim_torchml.inputs.base import SPECIES, InputKind, ModelInputs, Particles, leaf, rows_that_contribute, to_tensor
from kim_torchml.inputs.signature import Argument
from kim_torchml.model_files.description import KindFormat
from kim_torchml.model_files.model_folder import ModelFolder


class GraphInputs(InputKind):
    """Staged edges: E_1 touches contributing particles, each further stage reaches one cutoff farther."""

    file_format = KindFormat(n_inputs=3, has_layers=True, edges_by_layer=True)

    def __init__(self, files: ModelFolder) -> None:
        """Keep what the model's files say; each layer reaches one cutoff farther."""
        super().__init__(files)
        model = files.description
        self.n_layers = model.n_layers
        self.influence_distance = model.cutoff * model.n_layers
        self.needs_noncontributing_neighbours = model.n_layers > 1

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Species, coordinates, the edges of each layer, and which particles do not contribute."""
        edges = (Argument(f"edge_index_{k}", (2, f"E_{k}")) for k in range(1, self.n_layers + 1))
        return (Argument(SPECIES, ("n",)), Argument("coordinates", ("n", 3), None), *edges, Argument("mask", ("n",)))

    def build(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Return the model's inputs."""
        if len(particles) == 1:
            return self._build_for_one(particles, dtype, device)
        edges = particles.neighbours.staged_edges(self.cutoff, self.n_layers)
        rows = leaf(particles.coordinates, dtype, device)
        mask = to_tensor((~particles.contributing).astype(np.int64), device)
        species = self.species(particles.species_codes, device)
        edge_indices = [to_tensor(edge_index, device) for edge_index in edges]
        contributing_rows = rows_that_contribute(particles, device)
        return ModelInputs(
            (species, rows, *edge_indices, mask), rows, len(rows), contributing_rows, None, edges[0].shape[1]
        )

    def _build_for_one(self, particles: Particles, dtype: torch.dtype, device: torch.device) -> ModelInputs:
        """Add a second particle out of reach: models scatter by the mask and expect both of its values."""
        far = particles.coordinates + 2.0 * self.influence_distance + 1.0
        rows = leaf(np.concatenate([particles.coordinates, far]), dtype, device)
        species = self.species(np.repeat(particles.species_codes, 2), device)
        no_edges = [torch.empty((2, 0), dtype=torch.int64, device=device) for _ in range(self.n_layers)]
        mask = torch.tensor([0, 1], dtype=torch.int64, device=device)
        only_particle = torch.tensor([0], dtype=torch.int64, device=device)
        return ModelInputs((species, rows, *no_edges, mask), rows, len(rows), slice(0, 1), only_particle, 0)
