# SPDX-License-Identifier: LGPL-2.1-or-later
"""The derivative of what a program returned, through the graph that autograd has recorded."""

import torch

from kim_torchml.engines.contract import ProgramInputs
from kim_torchml.process.profile import GRADIENT, timed


def gradient_by_leaf(energies: torch.Tensor, inputs: ProgramInputs) -> torch.Tensor | None:
    """Return the derivative of the sum of the contributing rows' energies by the leaf; None if they depend not on it.

    Args:
        energies: Energies as the program returned them.
        inputs: What it was called with.
    """
    if not energies.requires_grad:
        return None
    with timed(GRADIENT):
        total = _of_contributing(energies, inputs).sum()
        (gradient,) = torch.autograd.grad(total, inputs.leaf, allow_unused=True)
    return gradient


def _of_contributing(energies: torch.Tensor, inputs: ProgramInputs) -> torch.Tensor:
    """Return the energies of contributing rows; a model that returns the total, or these alone, returns no others.

    Their sum is differentiated. Weights for torch.autograd.grad would do the same, but torch 2.13 imports sympy then:
    half a second and 30 MB.
    """
    return energies.reshape(-1)[inputs.contributing_rows] if energies.numel() == inputs.n_rows else energies
