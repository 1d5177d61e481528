# SPDX-License-Identifier: LGPL-2.1-or-later
"""Training of the network on energies and forces of the reference model."""

from collections.abc import Sequence
from functools import partial

import torch
from configurations import Configuration, per_particle, side_by_side
from fitting import Evaluation, Potential, evaluate, labelled_sets, progress_bars, train
from network import N_LAYERS, SiliconNetwork
from rich.console import Console
from torch import Tensor

BATCH_SIZE = 2
LEARNING_RATE = 1e-2


def make_network(
    cutoff: float, seed: int, n_epochs: int, console: Console
) -> tuple[SiliconNetwork, dict[str, Evaluation]]:
    """Make labelled structures, train a network on most of them and evaluate it on the others.

    Args:
        cutoff: Largest length of a bond, Å.
        seed: Seed of structures and weights.
        n_epochs: Number of passes through the training set.
        console: Console that shows the progress.
    Returns:
        The trained network, and its evaluation on each kind of structure in the test set.
    """
    torch.manual_seed(seed)
    network = SiliconNetwork(cutoff)
    potential = Potential(network, partial(predict, network), side_by_side)
    with progress_bars(console) as progress:
        training_set, test_set = labelled_sets(cutoff, seed, progress)
        normalise(network, training_set[::8])
        train(potential, training_set, BATCH_SIZE, LEARNING_RATE, n_epochs, progress)
    return network, evaluate(potential, test_set)


def predict(network: SiliconNetwork, batch: Configuration, training: bool) -> tuple[Tensor, Tensor]:
    """Return energies and forces of the network for periodic structures.

    Here every particle contributes and has all its edges, so all layers use the same ones.

    Args:
        network: The network.
        batch: The structures.
        training: True to keep the graph, so that a gradient with respect to the weights can be taken.
    Returns:
        Energies per particle, shape [structures], eV; forces, shape [n, 3], eV/Å.
    """
    coordinates = batch.coordinates.detach().requires_grad_()
    first, second = batch.edge_index
    bonds = network.bond_functions(coordinates[second] - coordinates[first] + batch.shifts)
    edges = [batch.edge_index] * N_LAYERS
    energies = network.particle_energies(len(coordinates), edges, [bonds] * N_LAYERS)
    (gradient,) = torch.autograd.grad(energies.sum(), coordinates, create_graph=training)
    return per_particle(energies, batch), -gradient


def normalise(network: SiliconNetwork, configurations: Sequence[Configuration]) -> None:
    """Set the normalisation of every layer from structures like those that it will meet.

    Args:
        network: The network, with its initial weights.
        configurations: A sample of the training set.
    """
    batch = side_by_side(configurations)
    first, second = batch.edge_index
    with torch.no_grad():
        bonds = network.bond_functions(batch.coordinates[second] - batch.coordinates[first] + batch.shifts)
        features = network.initial.expand(len(batch.coordinates), -1)
        for convolution in network.convolutions:
            convolution.normalise(convolution.invariants(features, batch.edge_index, bonds))
            features = convolution(features, batch.edge_index, bonds)
