# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inputs of the kind edges that look like those of a simulation, of any size."""

import numpy as np
import torch

from kim_torchml.inputs import EdgeInputs, ModelInputs

# Lengths of edges, in cutoffs.
_SHORTEST, _LONGEST = 0.6, 1.0


def example_inputs(
    inputs: EdgeInputs, n_rows: int, n_edges: int, dtype: torch.dtype, device: torch.device
) -> ModelInputs:
    """Return inputs of random edges, the same in every call.

    Args:
        inputs: Builder of the model's inputs.
        n_rows: Number of rows, which have all species in turn; all of them contribute.
        n_edges: Number of edges, which lead from any row to another; 0 where there are no two rows.
        dtype: Type of the edge vectors.
        device: Where the tensors are to be.
    """
    random = np.random.default_rng(1)
    centres = random.integers(0, max(n_rows, 1), n_edges)
    neighbours = (centres + random.integers(1, max(n_rows, 2), n_edges)) % max(n_rows, 1)
    vectors = random.normal(size=(n_edges, 3))
    vectors *= (inputs.cutoff * random.uniform(_SHORTEST, _LONGEST, n_edges) / np.linalg.norm(vectors, axis=1))[:, None]
    leaf = torch.from_numpy(vectors).to(device, dtype).requires_grad_(True)
    arguments = (
        inputs.species(np.arange(n_rows) % inputs.n_species, device),
        torch.from_numpy(np.stack([centres, neighbours])).to(device),
        leaf,
    )
    return ModelInputs(arguments, leaf, n_rows, slice(0, None), None, n_edges)
