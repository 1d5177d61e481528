# SPDX-License-Identifier: LGPL-2.1-or-later
"""Training of the network on energies and forces of the reference model."""

from functools import partial

import torch
from configurations import Configuration, per_particle
from described import Described, describe, join, normalise
from descriptor_file import CUTOFF, descriptor_text
from fitting import Evaluation, Potential, evaluate, labelled_sets, progress_bars, train
from network import SiliconNetwork
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from kim_torchml.descriptors import Normalisation, read_descriptor

BATCH_SIZE = 4
LEARNING_RATE = 1e-2


def make_network(
    seed: int, n_epochs: int, console: Console
) -> tuple[SiliconNetwork, Normalisation, dict[str, Evaluation]]:
    """Make labelled structures, train a network on most of them and evaluate it on the others.

    Args:
        seed: Seed of structures and weights.
        n_epochs: Number of passes through the training set.
        console: Console that shows the progress.
    Returns:
        The trained network, the normalisation of the descriptors that it takes, and its evaluation on
        each kind of structure in the test set.
    """
    torch.manual_seed(seed)
    with progress_bars(console) as progress:
        labelled = labelled_sets(CUTOFF, seed, progress)
        training_set, test_set = described_sets(*labelled, progress)
        values = torch.cat([structure.descriptors for structure in training_set])
        normalisation = Normalisation(values.mean(0), values.std(0))
        training_set = [normalise(structure, normalisation) for structure in training_set]
        test_set = [normalise(structure, normalisation) for structure in test_set]
        network = SiliconNetwork(normalisation)
        potential = Potential(network, partial(predict, network), join)
        train(potential, training_set, BATCH_SIZE, LEARNING_RATE, n_epochs, progress)
    return network, normalisation, evaluate(potential, test_set)


def described_sets(
    training_set: list[Configuration], test_set: list[Configuration], progress: Progress
) -> tuple[list[Described], list[Described]]:
    """Return structures with their descriptors, as the descriptor file of the model will define them.

    Args:
        training_set: Structures to train on.
        test_set: Structures to test on.
        progress: Progress display, which gets a bar.
    Returns:
        The structures of each set with their descriptors, not yet normalised.
    """
    descriptor, _ = read_descriptor(descriptor_text(None), "descriptor.dat", "SymmetryFunctions", ["Si"], CUTOFF)
    task = progress.add_task("descriptors", total=len(training_set) + len(test_set))

    def described(configuration: Configuration) -> Described:
        progress.advance(task)
        return describe(configuration, descriptor)

    return [described(item) for item in training_set], [described(item) for item in test_set]


def predict(network: SiliconNetwork, batch: Described, training: bool) -> tuple[Tensor, Tensor]:
    """Return energies and forces of the network.

    Args:
        network: The network.
        batch: The structures, with normalised descriptors.
        training: True to keep the graph, so that a gradient with respect to the weights can be taken.
    Returns:
        Energies per particle, shape [structures], eV; forces, shape [n, 3], eV/Å.
    """
    descriptors = batch.descriptors.detach().requires_grad_()
    energies = network(descriptors)
    (gradient,) = torch.autograd.grad(energies.sum(), descriptors, create_graph=training)
    first, second = batch.configuration.edge_index
    by_vector = torch.bmm(batch.jacobian, gradient.index_select(0, first).unsqueeze(2)).squeeze(2)
    forces = torch.zeros_like(batch.forces).index_add(0, first, by_vector)
    return per_particle(energies, batch.configuration), forces.index_add(0, second, by_vector, alpha=-1.0)
