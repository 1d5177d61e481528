# SPDX-License-Identifier: LGPL-2.1-or-later
"""Train the model of docs/tutorial.md on KIM's Stillinger-Weber silicon, and write it as a model folder."""

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from configurations import Configuration, labelled_set, per_particle, side_by_side
from network import MyPotential
from reference import reference_calculator

import kim_torchml

CUTOFF = 3.8  # Å
N_EPOCHS, BATCH_SIZE = 30, 2


def predict(model: MyPotential, batch: Configuration, training: bool) -> tuple[Tensor, Tensor]:
    """Return energies per particle of each structure (eV) and forces (eV/Å)."""
    coordinates = batch.coordinates.detach().requires_grad_()
    centre, neighbour = batch.edge_index
    vectors = coordinates[neighbour] - coordinates[centre] + batch.shifts
    energies = model(torch.zeros(len(coordinates), dtype=torch.int64), batch.edge_index, vectors)
    (gradient,) = torch.autograd.grad(energies.sum(), coordinates, create_graph=training)
    return per_particle(energies, batch), -gradient


def train(model: MyPotential, structures: list[Configuration]) -> None:
    """Fit the model to energies and forces."""
    optimiser = torch.optim.Adam(model.parameters())
    n_steps = N_EPOCHS * (len(structures) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=n_steps)
    for _ in range(N_EPOCHS):
        for chosen in torch.randperm(len(structures)).split(BATCH_SIZE):
            batch = side_by_side([structures[i] for i in chosen])
            energies, forces = predict(model, batch, training=True)
            loss = (forces - batch.forces).square().mean() + 10.0 * (energies - batch.energies).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()


def main() -> None:
    """Make structures, train, test and save."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    calculator = reference_calculator()
    structures = labelled_set(60, 2, (1,), CUTOFF, calculator, lambda: None)
    unseen = side_by_side(labelled_set(10, 1, (2,), CUTOFF, calculator, lambda: None))
    model = MyPotential(CUTOFF)
    with torch.no_grad():
        model.network[-1].bias.fill_(torch.cat([each.energies for each in structures]).mean())
    train(model, structures)
    energies, forces = predict(model, unseen, training=False)
    print(f"energies are off by {1e3 * (energies - unseen.energies).square().mean().sqrt():.0f} meV per atom,")
    print(f"forces by {(forces - unseen.forces).square().mean().sqrt():.2f} of {unseen.forces.std():.2f} eV/Å")
    report = kim_torchml.save_model(
        model,
        "My_Potential",
        name="My_Potential",
        kind="edges",
        species=["Si"],
        cutoff=CUTOFF,
        about={"title": "My first potential for silicon", "trained_on": "Stillinger-Weber silicon"},
        replace=True,
    )
    print(report)


if __name__ == "__main__":
    main()
