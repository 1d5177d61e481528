# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a network exchanges the features of its rows before every layer that needs them: it would be silently wrong.

Rows that are copies of others, as several ranks have them, must change nothing.
"""

from dataclasses import replace

import numpy as np
import torch

from kim_torchml.engines.contract import Program
from kim_torchml.engines.exchange import exchanging
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.dense_neighbours import DenseNeighbours
from kim_torchml.evaluation.probe_configurations import SCALES, probe_chains
from kim_torchml.inputs import EdgeInputs, ModelInputs, Particles

# Between the particles of a chain, in units of the cutoff; some networks interact over shorter distances alone.
_SPACING = 0.55
# Relative to energies and derivatives above 1 eV and 1 eV/Å: in double precision, and in that of the model.
_TOLERANCE, _TOLERANCE_OF_ITS_OWN = 1e-7, 3e-5


class _Copies:
    """Exchanges rows within one process: those beyond the own ones are copies."""

    def __init__(self, n_own: int, owners: torch.Tensor) -> None:
        self.n_own, self._owners = n_own, owners

    def forward(self, rows: torch.Tensor) -> None:
        rows[self.n_own :] = rows[self._owners]

    def backward(self, rows: torch.Tensor) -> None:
        rows[: self.n_own].index_add_(0, self._owners, rows[self.n_own :].clone())
        rows[self.n_own :] = 0.0


def fault_of_exchange(program: Program, kind: EdgeInputs) -> str:
    """Return what shows that a model forgets an exchange, or that its exchanges do harm; empty where nothing does.

    Args:
        program: The model.
        kind: What its inputs are built by.
    """
    tolerance = _TOLERANCE
    try:
        change = _change_by_copies(program.in_double_precision(), kind, tolerance)
    except DriverError:
        # TorchScript may convert tensors to the type that it was made in, which its weights then no longer have.
        tolerance = _TOLERANCE_OF_ITS_OWN
        change = _change_by_copies(program, kind, tolerance)
    if change < tolerance:
        return ""
    return (
        f"the model in {program.file_name} must give the same where rows are copies that "
        f"torch.ops.kim_torchml.exchange fills, got energies or forces that differ by {change:.1g} "
        f"(it calls that {program.n_exchanges} times for {kind.n_layers} layers); call it on what each layer "
        "but the first gathers by edge_index[1], or set KIM_TORCHML_EDGES=staged"
    )


def _change_by_copies(program: Program, kind: EdgeInputs, tolerance: float) -> float:
    """Return by how much copied rows change what a model gives, where that is no rounding; else 0."""
    for scale in SCALES:
        chains = probe_chains(kind.n_layers + 2, scale * _SPACING * kind.cutoff, kind.n_species)
        contributing = np.ones(len(chains), dtype=bool)
        neighbours = DenseNeighbours(chains.coordinates, contributing)
        particles = Particles(chains.coordinates, chains.species_codes, contributing, neighbours)
        whole = kind.with_layers(1).build(particles, program.dtype, program.device)
        copied, owners = _with_copies(whole)
        expected = program.run(whole, wants_gradient=True)
        with exchanging(_Copies(whole.n_rows, owners)):
            found = program.run(copied, wants_gradient=True)
        differences = [_difference(found.energies.reshape(-1)[: whole.n_rows], expected.energies.reshape(-1))]
        if found.gradient is not None and expected.gradient is not None:
            differences.append(_difference(found.gradient, expected.gradient))
        for each in differences:
            if not each < tolerance:
                return each
    return 0.0


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return float((found - expected).abs().max()) / scale if expected.numel() else 0.0


def _with_copies(whole: ModelInputs) -> tuple[ModelInputs, torch.Tensor]:
    """Return the same inputs with a copy of every other row, to which the edges from one side lead; and the owners."""
    species, edge_index, vectors = whole.arguments
    owners = torch.arange(1, whole.n_rows, 2, dtype=species.dtype, device=species.device)
    copy_of = torch.full_like(species, -1)
    copy_of[owners] = torch.arange(whole.n_rows, whole.n_rows + len(owners), dtype=species.dtype, device=species.device)
    centres, neighbours = edge_index
    is_moved = (copy_of[neighbours] >= 0) & (centres < neighbours)
    moved = torch.where(is_moved, copy_of[neighbours], neighbours)
    leaf = vectors.detach().clone().requires_grad_(True)
    arguments = (torch.cat([species, species[owners]]), torch.stack([centres, moved]), leaf)
    n_rows = whole.n_rows + len(owners)
    return replace(
        whole, arguments=arguments, leaf=leaf, n_rows=n_rows, contributing_rows=slice(0, whole.n_rows)
    ), owners
