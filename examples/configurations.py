# SPDX-License-Identifier: LGPL-2.1-or-later
"""Silicon structures with energies and forces of the reference model, as tensors for training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.neighborlist import neighbor_list
from torch import Tensor

LATTICE_CONSTANT = 5.431  # Å
MELT_SNAPSHOTS = 10


@dataclass(frozen=True)
class Configuration:
    """A labelled periodic structure, or several put side by side as one graph.

    Attributes:
        coordinates: Cartesian coordinates, shape [n, 3], Å.
        edge_index: First and second particle of each edge, shape [2, edges]; every bond is there in both directions.
        shifts: Vectors to add to r[second] - r[first] for edges that cross the periodic boundary, shape [edges, 3], Å.
        structure: The structure that each particle belongs to, shape [n].
        energies: Energies per particle of the structures, shape [structures], eV.
        forces: Forces, shape [n, 3], eV/Å.
    """

    coordinates: Tensor
    edge_index: Tensor
    shifts: Tensor
    structure: Tensor
    energies: Tensor
    forces: Tensor


def labelled_set(
    n_crystals: int,
    n_melts: int,
    seed: Sequence[int],
    cutoff: float,
    calculator: Calculator,
    advance: Callable[[], None],
) -> list[Configuration]:
    """Return rattled and strained crystals, and snapshots of melts, with their labels.

    Args:
        n_crystals: Number of crystals.
        n_melts: Number of melts, each of which gives `MELT_SNAPSHOTS` structures.
        seed: Seed of all random numbers here, one or more integers.
        cutoff: Largest bond length, Å.
        calculator: The calculator that labels the structures and drives the melts.
        advance: Function that is called after each structure, for a progress bar.
    Returns:
        Structures of 64 atoms.
    """
    generator = np.random.default_rng(seed)
    labelled = []
    for _ in range(n_crystals):
        labelled.append(label(strained_crystal(generator), cutoff, calculator))
        advance()
    for _ in range(n_melts):
        for atoms in melt(generator, calculator):
            labelled.append(label(atoms, cutoff, calculator))
            advance()
    return labelled


def strained_crystal(generator: np.random.Generator) -> Atoms:
    """Return a diamond crystal, up to 8 % strained, with atoms up to 0.18 Å (rms) off their sites.

    Args:
        generator: Source of random numbers.
    Returns:
        64 atoms, periodic.
    """
    atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True) * (2, 2, 2)
    strain = generator.uniform(-0.03, 0.03, (3, 3))
    strain = 0.5 * (strain + strain.T) + generator.uniform(-0.05, 0.05) * np.eye(3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    amplitude = generator.uniform(0.01, 0.18)
    atoms.positions += generator.normal(scale=amplitude, size=atoms.positions.shape)
    return atoms


def melt(generator: np.random.Generator, calculator: Calculator) -> list[Atoms]:
    """Return snapshots, 80 fs apart, of a crystal that melts at 2500 to 5000 K.

    Args:
        generator: Source of random numbers.
        calculator: The calculator that drives the dynamics.
    Returns:
        `MELT_SNAPSHOTS` structures of 64 atoms, periodic.
    """
    lattice_constant = LATTICE_CONSTANT * generator.uniform(0.95, 1.03)
    atoms = bulk("Si", "diamond", a=lattice_constant, cubic=True) * (2, 2, 2)
    atoms.calc = calculator
    temperature = generator.uniform(2500.0, 5000.0)
    thermalise(atoms, 2.0 * temperature, generator)
    dynamics = Langevin(
        atoms,
        2.0 * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=generator,
    )
    dynamics.run(300)
    snapshots = []
    for _ in range(MELT_SNAPSHOTS):
        dynamics.run(40)
        snapshots.append(atoms.copy())
    return snapshots


def thermalise(atoms: Atoms, temperature: float, generator: np.random.Generator) -> None:
    """Draw the momenta of all atoms from the Maxwell-Boltzmann distribution.

    Args:
        atoms: The structure.
        temperature: Temperature, K.
        generator: Source of random numbers.
    """
    deviation = np.sqrt(units.kB * temperature * atoms.get_masses())
    atoms.set_momenta(deviation[:, np.newaxis] * generator.normal(size=(len(atoms), 3)))


def label(atoms: Atoms, cutoff: float, calculator: Calculator) -> Configuration:
    """Return a structure as tensors, with energy and forces from the calculator.

    Args:
        atoms: The structure.
        cutoff: Largest bond length, Å.
        calculator: The calculator that labels it.
    Returns:
        The structure with its labels.
    """
    atoms.calc = calculator
    first, second, shifts = neighbor_list("ijS", atoms, cutoff)
    return Configuration(
        coordinates=torch.tensor(atoms.positions),
        edge_index=torch.tensor(np.stack([first, second])),
        shifts=torch.tensor(shifts @ atoms.cell.array),
        structure=torch.zeros(len(atoms), dtype=torch.int64),
        energies=torch.tensor([atoms.get_potential_energy() / len(atoms)], dtype=torch.float64),
        forces=torch.tensor(atoms.get_forces()),
    )


def per_particle(energies: Tensor, configuration: Configuration) -> Tensor:
    """Return the energy per particle of each structure, given the energies of all particles.

    Args:
        energies: Energies of the particles, shape [n], eV.
        configuration: The structures.
    Returns:
        Energies per particle, shape [structures], eV.
    """
    sums = torch.zeros_like(configuration.energies).index_add(0, configuration.structure, energies)
    return sums / torch.bincount(configuration.structure)


def side_by_side(configurations: Sequence[Configuration]) -> Configuration:
    """Return several structures as one graph without edges between them.

    Args:
        configurations: At least one structure.
    Returns:
        The structures, in order.
    """
    particles = torch.tensor([len(item.coordinates) for item in configurations])
    offsets = (particles.cumsum(0) - particles).tolist()
    edges = zip(configurations, offsets, strict=True)
    return Configuration(
        coordinates=torch.cat([item.coordinates for item in configurations]),
        edge_index=torch.cat([item.edge_index + offset for item, offset in edges], 1),
        shifts=torch.cat([item.shifts for item in configurations]),
        structure=torch.repeat_interleave(torch.arange(len(configurations)), particles),
        energies=torch.cat([item.energies for item in configurations]),
        forces=torch.cat([item.forces for item in configurations]),
    )
