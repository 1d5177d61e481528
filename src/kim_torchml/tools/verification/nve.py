# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short run at constant energy: how well the total energy is kept. Not a check of OpenKIM's; shown, not graded."""

from typing import Any

import numpy as np
from ase import units
from ase.data import atomic_masses, atomic_numbers

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.verification.crystals import EIGHT_ATOMS, LATTICES, perfect_crystal
from kim_torchml.tools.verification.model_under_test import Bench, Evaluation

STEPS = 400
TEMPERATURE = 300.0  # K
# Of the lightest atom's vibrations some twenty steps: 1 fs for silicon.
STEP_OF_UNIT_MASS = 0.19  # fs
# An atom that moves farther in one step has been thrown out: the run ends there. Å.
GREATEST_MOVE = 0.5


def constant_energy_run(bench: Bench) -> dict[str, Any]:
    """Return times (fs) and total, potential energies (eV an atom) of a periodic crystal of 8 atoms, with their drift.

    The crystal is the model's own: of fcc, bcc and diamond, each at its lattice constant, that with the least energy.
    Velocity Verlet, from Maxwell-Boltzmann velocities of 300 K. `broke_off`: whether an atom was thrown out of the
    crystal, as happens where the energy jumps.

    Raises:
        ModelError: The model has no forces, or failed.
    """
    if not bench.has_forces:
        raise ModelError("the model computes no forces")
    random = bench.random("nve")
    structure, lattice = _start(bench)
    masses = _masses(structure)
    velocities = random.normal(size=(len(structure), 3)) * np.sqrt(TEMPERATURE * units.kB / masses)
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    step = STEP_OF_UNIT_MASS * float(np.sqrt(masses.min()))
    totals, potentials = _integrate(bench, structure, velocities, masses, step * units.fs)
    times = step * np.arange(len(totals))
    slope = float(np.polyfit(times, totals, 1)[0]) if len(totals) > 2 else float("nan")
    return {
        "lattice": lattice,
        "atoms": len(structure),
        "species": list(structure.species),
        "step_fs": step,
        "times_fs": times.round(4).tolist(),
        "total_eV_per_atom": totals.tolist(),
        "potential_eV_per_atom": potentials.tolist(),
        "broke_off": len(totals) <= STEPS,
        "drift_eV_per_atom_ps": slope * 1000.0,
        "fluctuation_eV_per_atom": float(np.std(totals - slope * times)),
    }


def _start(bench: Bench) -> tuple[Structure, str]:
    """Return the crystal of least energy by atom, and its lattice's name."""
    found: dict[str, Structure] = {}
    energies: dict[str, float] = {}
    for lattice in LATTICES:
        nearest = bench.nearest(lattice, bench.species)
        # As it was when its nearest distance was looked for.
        found[lattice] = perfect_crystal(lattice, EIGHT_ATOMS[lattice], nearest, sorted(bench.species))
        try:
            energies[lattice] = bench.energy(found[lattice]) / len(found[lattice])
        except ModelError:
            # Another lattice may do.
            continue
    if not energies:
        raise ModelError(f"the model {bench.name} can compute no crystal")
    best = min(energies, key=lambda lattice: energies[lattice])
    return found[best], best


def _masses(structure: Structure) -> Floats:
    """Return masses [n, 1] in ASE's unit; of what is no element, 1."""
    return np.array([[atomic_masses[atomic_numbers.get(name, 0)]] for name in structure.species], dtype=np.float64)


def _integrate(
    bench: Bench, structure: Structure, velocities: Floats, masses: Floats, step: float
) -> tuple[Floats, Floats]:
    """Return total and potential energies by atom at each step, as far as the atoms keep together."""
    now = bench.evaluate(structure)
    totals, potentials = [], []
    for index in range(STEPS + 1):
        kinetic = 0.5 * float((masses * velocities**2).sum())
        totals.append((now.energy + kinetic) / len(structure))
        potentials.append(now.energy / len(structure))
        velocities = velocities + 0.5 * step * _forces(now) / masses
        if float(np.abs(step * velocities).max()) > GREATEST_MOVE:
            break
        structure = _wrapped(structure, structure.positions + step * velocities)
        now = bench.evaluate(structure)
        velocities = velocities + 0.5 * step * _forces(now) / masses
        bench.progress((index + 1) / (STEPS + 1))
    return np.array(totals), np.array(potentials)


def _wrapped(structure: Structure, positions: Floats) -> Structure:
    """Return the atoms at these positions, brought back into the box."""
    fractions = np.linalg.solve(structure.cell.T, positions.T).T
    return structure.moved(positions - np.floor(fractions) @ structure.cell)


def _forces(of: Evaluation) -> Floats:
    assert of.forces is not None
    return of.forces
