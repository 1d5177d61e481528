# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program's energies and their gradient in one graph, which is what is compiled."""

from collections.abc import Callable, Mapping

import torch

from kim_torchml.engines.exported.runner import Runner

# Energies and gradient for the program's own inputs and a seed.
Joint = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def joint_of(runner: Runner, tensors: Mapping[str, torch.Tensor], leaf: int) -> Joint:
    """Return a function that gives the energies of a program and their gradient.

    The function takes the program's inputs and a seed of one number for each row: 1 where the row's energy counts,
    else 0. What is differentiated is the sum of the energies times the seed. A plain sum would let the energies of
    other rows into the gradient, and a choice of rows cannot be compiled.

    Args:
        runner: The program, which returns one energy for each row.
        tensors: Its weights and constants.
        leaf: Place of the input that the energies are differentiated by.
    """

    def joint(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        *inputs, seed = given
        inputs[leaf] = inputs[leaf].detach().requires_grad_(True)
        (energies,) = runner.run(tensors, inputs)
        energies = energies.reshape(-1)
        (gradient,) = torch.autograd.grad((energies * seed).sum(), inputs[leaf])
        return energies.detach(), gradient.detach()

    return joint


def seed_of(n_rows: int, contributing: slice | torch.Tensor, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the seed for rows that contribute, in the type of the energies, on the device of another tensor."""
    seed = torch.zeros(n_rows, dtype=dtype, device=like.device)
    seed[contributing] = 1.0
    return seed
