# SPDX-License-Identifier: LGPL-2.1-or-later
"""Training of the network on energies and forces of the reference model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from configurations import MELT_SNAPSHOTS, Configuration, labelled_set, side_by_side
from network import N_LAYERS, SiliconNetwork
from reference import reference_calculator, reference_model_id
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

TRAINING_CRYSTALS, TRAINING_MELTS = 120, 12
TEST_CRYSTALS, TEST_MELTS = 30, 3
BATCH_SIZE = 2
LEARNING_RATE = 1e-2
WARM_UP_STEPS = 300
ENERGY_WEIGHT = 10.0  # of the squared error in eV per atom, where that of forces in eV/Å has 1
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Evaluation:
    """What the network and the reference model say of the same structures.

    Attributes:
        energies: Energies per particle of the network, shape [structures], eV.
        forces: Forces of the network, shape [n, 3], eV/Å.
        expected: The structures with the energies and forces of the reference model.
    """

    energies: Tensor
    forces: Tensor
    expected: Configuration

    def energy_rmse(self) -> float:
        """Return the root mean square error of the energy, eV per atom."""
        return float((self.energies - self.expected.energies).square().mean().sqrt())

    def force_rmse(self) -> float:
        """Return the root mean square error of force components, eV/Å."""
        return float((self.forces - self.expected.forces).square().mean().sqrt())

    def relative_force_rmse(self) -> float:
        """Return the force error as a fraction of the standard deviation of the forces."""
        return self.force_rmse() / float(self.expected.forces.std())


def make_network(
    cutoff: float, seed: int, n_epochs: int, console: Console
) -> tuple[SiliconNetwork, dict[str, Evaluation]]:
    """Make labelled structures, train a network on most of them and evaluate it on the others.

    The structures for the test come from other random numbers, and from melts of their own.

    Args:
        cutoff: Length at which bonds end, Å.
        seed: Seed of structures and weights.
        n_epochs: How often to go through the training set.
        console: Where progress goes.
    Returns:
        The trained network, and what it says of each kind of structure in the test.
    """
    torch.manual_seed(seed)
    network = SiliconNetwork(cutoff)
    calculator = reference_calculator()
    console.print(f"labels: {reference_model_id()}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        n_crystals = TRAINING_CRYSTALS + TEST_CRYSTALS
        n_snapshots = (TRAINING_MELTS + TEST_MELTS) * MELT_SNAPSHOTS
        labelling = progress.add_task("structures", total=n_crystals + n_snapshots)
        make_set = partial(
            labelled_set,
            cutoff=cutoff,
            calculator=calculator,
            advance=lambda: progress.advance(labelling),
        )
        training_set = make_set(TRAINING_CRYSTALS, TRAINING_MELTS, seed=(seed, 0))
        test_set = make_set(TEST_CRYSTALS, TEST_MELTS, seed=(seed, 1))
        training = progress.add_task("epochs", total=n_epochs)

        def report(epoch: int, error: float) -> None:
            progress.update(training, completed=epoch)
            if epoch % 5 == 0 or epoch == n_epochs:
                console.print(f"epoch {epoch:3d}: median batch error {1e3 * error:6.1f} meV/Å")

        train(network, training_set, n_epochs, report)
    kinds = {
        "crystals": test_set[:TEST_CRYSTALS],
        "melts": test_set[TEST_CRYSTALS:],
        "all": test_set,
    }
    return network, {name: evaluate(network, structures) for name, structures in kinds.items()}


def predict(network: SiliconNetwork, batch: Configuration, training: bool) -> tuple[Tensor, Tensor]:
    """Return energies and forces of the network for periodic structures.

    Here every particle contributes and has all its edges, so all layers use the same ones.

    Args:
        network: The network.
        batch: The structures.
        training: Keep the graph, for a gradient with respect to the weights.
    Returns:
        Energies per particle, shape [structures], eV; forces, shape [n, 3], eV/Å.
    """
    coordinates = batch.coordinates.detach().requires_grad_()
    first, second = batch.edge_index
    bonds = network.bond_functions(coordinates[second] - coordinates[first] + batch.shifts)
    edges = [batch.edge_index] * N_LAYERS
    energies = network.particle_energies(len(coordinates), edges, [bonds] * N_LAYERS)
    (gradient,) = torch.autograd.grad(energies.sum(), coordinates, create_graph=training)
    sums = torch.zeros_like(batch.energies).index_add(0, batch.structure, energies)
    return sums / torch.bincount(batch.structure), -gradient


def normalise(network: SiliconNetwork, configurations: Sequence[Configuration]) -> None:
    """Set the normalisation of every layer from the structures that it will meet.

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


def train(
    network: SiliconNetwork,
    configurations: Sequence[Configuration],
    n_epochs: int,
    report: Callable[[int, float], None],
) -> None:
    """Fit the network to energies and forces with Adam and one cycle of the learning rate.

    Args:
        network: The network, with its initial weights.
        configurations: The training set.
        n_epochs: How often to go through it.
        report: Called after every epoch with its number, from 1, and the force error of the batch
            in the middle when they are sorted by error, eV/Å.
    """
    normalise(network, configurations[::8])
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    n_steps = n_epochs * (len(configurations) // BATCH_SIZE)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimiser, 0.02, total_iters=WARM_UP_STEPS)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, n_steps - WARM_UP_STEPS, eta_min=1e-3 * LEARNING_RATE
    )
    schedule = torch.optim.lr_scheduler.SequentialLR(optimiser, [warm_up, cosine], [WARM_UP_STEPS])
    for epoch in range(1, n_epochs + 1):
        batches = torch.randperm(len(configurations)).split(BATCH_SIZE)
        squares = [
            step(network, side_by_side([configurations[i] for i in batch]), optimiser, schedule)
            for batch in batches
            if len(batch) == BATCH_SIZE
        ]
        report(epoch, float(torch.stack(squares).median().sqrt()))


def step(
    network: SiliconNetwork,
    batch: Configuration,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> Tensor:
    """Improve the network on one batch and return the mean square force error, (eV/Å)^2."""
    energies, forces = predict(network, batch, training=True)
    force_loss = (forces - batch.forces).square().mean()
    loss = force_loss + ENERGY_WEIGHT * (energies - batch.energies).square().mean()
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
    optimiser.step()
    schedule.step()
    return force_loss.detach()


def evaluate(network: SiliconNetwork, configurations: Sequence[Configuration]) -> Evaluation:
    """Return what the network says of some structures.

    Args:
        network: The network.
        configurations: Structures, at best ones that it was not trained on.
    Returns:
        Energies and forces, with the reference model's.
    """
    batch = side_by_side(configurations)
    energies, forces = predict(network, batch, training=False)
    return Evaluation(energies.detach(), forces, batch)
