# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the trained examples share: options, training and test sets, the fit to energies and forces, its errors."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from configurations import MELT_SNAPSHOTS, Configuration, labelled_set
from reference import reference_calculator, reference_model_id
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

TRAINING_CRYSTALS, TRAINING_MELTS = 120, 12
TEST_CRYSTALS, TEST_MELTS = 30, 3
WARM_UP_STEPS = 300
# The loss is the mean square force error (eV/Å) plus this weight times the mean square energy error (eV per atom).
ENERGY_WEIGHT = 10.0
LARGEST_GRADIENT = 1.0


class Labelled(Protocol):
    """Structures with the energies and forces of the reference model."""

    @property
    def energies(self) -> Tensor:
        """Energies per particle, shape [structures], eV."""

    @property
    def forces(self) -> Tensor:
        """Forces, shape [n, 3], eV/Å."""


Structures = TypeVar("Structures", bound=Labelled)


@dataclass(frozen=True)
class Potential(Generic[Structures]):
    """A network with the functions that compute its energies and forces.

    Attributes:
        network: The network.
        predict: Function of structures and of whether to keep the graph for a gradient with respect to
            the weights. It returns energies per particle, shape [structures], eV, and forces, shape
            [n, 3], eV/Å.
        join: Function that puts several structures side by side.
    """

    network: nn.Module
    predict: Callable[[Structures, bool], tuple[Tensor, Tensor]]
    join: Callable[[Sequence[Structures]], Structures]


@dataclass(frozen=True)
class Evaluation:
    """Energies and forces of the same structures by the network and by the reference model.

    Attributes:
        energies: Energies per particle of the network, shape [structures], eV.
        forces: Forces of the network, shape [n, 3], eV/Å.
        expected: The structures with the energies and forces of the reference model.
    """

    energies: Tensor
    forces: Tensor
    expected: Labelled

    def energy_rmse(self) -> float:
        """Return the root mean square error of the energy, eV per atom."""
        return float((self.energies - self.expected.energies).square().mean().sqrt())

    def force_rmse(self) -> float:
        """Return the root mean square error of force components, eV/Å."""
        return float((self.forces - self.expected.forces).square().mean().sqrt())

    def relative_force_rmse(self) -> float:
        """Return the force error as a fraction of the standard deviation of the forces."""
        return self.force_rmse() / float(self.expected.forces.std())


def parse_options(description: str, folder: Path, n_epochs: int) -> argparse.Namespace:
    """Return the options of a training script's command line.

    Args:
        description: Sentence that says what the script does.
        folder: Folder of the script; by default the model is written there.
        n_epochs: Default number of passes through the training set.
    """
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    plot = folder.parent / "build" / f"{folder.name}_parity.png"
    add("--output", type=Path, default=folder, help="folder of the model and its parameter file")
    add("--plot", type=Path, default=plot, help="parity plot (PNG)")
    add("--seed", type=int, default=0, help="seed of structures and weights")
    add("--epochs", type=int, default=n_epochs, help="how often to go through the training set")
    add("--threads", type=int, default=1, help="threads of torch; one makes results repeatable")
    return parser.parse_args()


def progress_bars(console: Console) -> Progress:
    """Return the progress bars of a training script, as a context manager."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)


def labelled_sets(cutoff: float, seed: int, progress: Progress) -> tuple[list[Configuration], list[Configuration]]:
    """Return labelled structures to train on, and others for the test.

    The test structures come from other random numbers and other melts than those to train on. The
    cutoff changes only their edges, not the structures.

    Args:
        cutoff: Largest bond length, Å.
        seed: Seed of the structures.
        progress: Progress display, which gets a bar.
    """
    calculator = reference_calculator()
    progress.console.print(f"labels: {reference_model_id()}")
    n_structures = TRAINING_CRYSTALS + TEST_CRYSTALS + (TRAINING_MELTS + TEST_MELTS) * MELT_SNAPSHOTS
    labelling = progress.add_task("structures", total=n_structures)
    make_set = partial(
        labelled_set,
        cutoff=cutoff,
        calculator=calculator,
        advance=lambda: progress.advance(labelling),
    )
    training_set = make_set(TRAINING_CRYSTALS, TRAINING_MELTS, seed=(seed, 0))
    return training_set, make_set(TEST_CRYSTALS, TEST_MELTS, seed=(seed, 1))


def train(
    potential: Potential[Structures],
    training_set: Sequence[Structures],
    batch_size: int,
    learning_rate: float,
    n_epochs: int,
    progress: Progress,
) -> None:
    """Fit a network to energies and forces with Adam and one cycle of the learning rate.

    Args:
        potential: The network, with its initial weights.
        training_set: Structures, each an item of its own.
        batch_size: Number of structures in a step.
        learning_rate: Largest learning rate of the cycle.
        n_epochs: Number of passes through the training set.
        progress: Progress display, which gets a bar and, every few epochs, a line with the median force
            error of the batches.
    """
    optimiser = torch.optim.Adam(potential.network.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    n_steps = n_epochs * (len(training_set) // batch_size)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimiser, 0.02, total_iters=WARM_UP_STEPS)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, n_steps - WARM_UP_STEPS, eta_min=1e-3 * learning_rate
    )
    schedule = torch.optim.lr_scheduler.SequentialLR(optimiser, [warm_up, cosine], [WARM_UP_STEPS])
    training = progress.add_task("epochs", total=n_epochs)
    lines = max(1, n_epochs // 12)
    for epoch in range(1, n_epochs + 1):
        batches = torch.randperm(len(training_set)).split(batch_size)
        squares = [
            step(potential, potential.join([training_set[i] for i in batch]), optimiser, schedule)
            for batch in batches
            if len(batch) == batch_size
        ]
        progress.update(training, completed=epoch)
        if epoch % lines == 0 or epoch == n_epochs:
            error = float(torch.stack(squares).median().sqrt())
            progress.console.print(f"epoch {epoch:3d}: median batch error {1e3 * error:6.1f} meV/Å")


def step(
    potential: Potential[Structures],
    batch: Structures,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> Tensor:
    """Improve the network on one batch and return the mean square force error, (eV/Å)^2."""
    energies, forces = potential.predict(batch, True)
    force_loss = (forces - batch.forces).square().mean()
    loss = force_loss + ENERGY_WEIGHT * (energies - batch.energies).square().mean()
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(potential.network.parameters(), LARGEST_GRADIENT)
    optimiser.step()
    schedule.step()
    return force_loss.detach()


def evaluate(potential: Potential[Structures], test_set: Sequence[Structures]) -> dict[str, Evaluation]:
    """Return the evaluation of the network on each kind of structure in the test set, and on all together."""
    kinds = {
        "crystals": test_set[:TEST_CRYSTALS],
        "melts": test_set[TEST_CRYSTALS:],
        "all": test_set,
    }
    evaluations = {}
    for name, structures in kinds.items():
        batch = potential.join(structures)
        energies, forces = potential.predict(batch, False)
        evaluations[name] = Evaluation(energies.detach(), forces.detach(), batch)
    return evaluations
