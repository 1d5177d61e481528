# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models of the kind edges as torch.export.save writes them, and torch's own loader to compare with."""

import functools
import io
import warnings

import pytest
import torch
from program_files import CANNOT_EXPORT
from torch import Tensor, nn

ROWS, N_EDGES = 23, 506


class Splitting(nn.Module):
    """A network that uses what exported programs may have: lists, sizes, views, changes in place, shared weights."""

    def __init__(self, width=8):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.embedding = nn.Embedding(3, width)
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(width, width, bias=False)
        self.tied = nn.Linear(width, width, bias=False)
        self.tied.weight = self.second.weight
        self.register_buffer("centres", torch.linspace(0.5, 2.5, width))
        self.register_buffer("not_saved", torch.tensor([0.5, 1.5]), persistent=False)
        self.register_buffer("transposed", torch.rand(width, width, generator=generator).T)
        for each in self.parameters():
            each.data = torch.randn(each.shape, generator=generator) * 0.3

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        centre, neighbour = edge_index.unbind(0)
        r = edge_vectors.square().sum(1).sqrt()
        basis = torch.exp(-(r.unsqueeze(1) - self.centres).square())
        weights, gates = self.first(basis).split(self.centres.shape[0], dim=1)
        features = self.embedding(species)
        n, width = features.shape
        for layer in (self.second, self.tied):
            messages = weights * nn.functional.gelu(layer(features)[neighbour], approximate="tanh") * gates.sigmoid()
            sums = torch.zeros(n, width, dtype=features.dtype).index_add_(0, centre, messages)
            features = features + sums.reshape(n * 2, width // 2).reshape(n, width) @ self.transposed
        parts = torch.einsum("nk,nk->n", features, features) + torch.tensor(0.25) * features.amax(1)
        counts = torch.zeros(n, dtype=features.dtype).scatter_add(0, centre, torch.ones_like(r))
        return parts * self.not_saved.sum() / (1 + counts)


def _skip_without_export():
    """Skip the test that runs, and no other, where torch writes other files."""
    if CANNOT_EXPORT:
        pytest.skip(CANNOT_EXPORT)


@functools.cache
def exported_bytes(kind, dtype=torch.float64, **arguments):
    """Return the .pt2 file of a model class of the kind edges, with any number of rows and edges."""
    _skip_without_export()
    n, n_edges = torch.export.Dim("n", min=0), torch.export.Dim("E", min=0)
    edge_index = torch.randint(0, ROWS, (2, N_EDGES), generator=torch.Generator().manual_seed(1))
    example = (torch.arange(ROWS) % 2, edge_index, torch.rand(N_EDGES, 3, dtype=dtype) + 0.5)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = ({0: n}, {1: n_edges}, {0: n_edges})
        program = torch.export.export(kind(**arguments).to(dtype).eval(), example, dynamic_shapes=sizes)
        torch.export.save(program, buffer)
    return buffer.getvalue()


def loaded_by_torch(content):
    """Return what torch's own loader makes of a file that we have written ourselves."""
    _skip_without_export()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(io.BytesIO(content)).module(check_guards=False)


def differentiated(module, inputs):
    """Return energies, and the gradient of the sum of the contributing rows' energies by the leaf."""
    energies = module(*inputs.arguments)
    total = energies[inputs.contributing_rows].sum()
    (gradient,) = torch.autograd.grad(total, inputs.leaf, allow_unused=True)
    return energies.detach(), gradient
