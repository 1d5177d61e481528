# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short run at constant energy, which shows how well the model conserves it. It is none of OpenKIM's checks."""

from typing import Any

import numpy as np
from ase import units
from ase.data import atomic_masses, atomic_numbers

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.verification.crystals import EIGHT_ATOMS, LATTICES, perfect_crystal
from kim_torchml.tools.verification.model_under_test import EnergyAndForces, ModelUnderTest

STEPS = 400
# Temperature of the velocities at the start, K.
TEMPERATURE = 300.0
# Time step for a lightest atom of mass 1, fs; it grows with the root of that mass (silicon: 1 fs), so that about twenty
# steps make a vibration.
STEP_OF_UNIT_MASS = 0.19
# An atom that moves farther than this in one step, Å, has been thrown out of the crystal, and the run ends.
GREATEST_MOVE = 0.5


def constant_energy_run(under_test: ModelUnderTest) -> dict[str, Any]:
    """Return times (fs), total and potential energies (eV per atom) of a periodic crystal of 8 atoms, and the drift.

    The crystal is that of fcc, bcc and diamond, each at its own lattice constant, which has the least energy. The run
    is velocity Verlet from Maxwell-Boltzmann velocities of 300 K. `broke_off` says whether an atom was thrown out of
    the crystal, as can happen if the energy jumps.

    Raises:
        ModelError: The model has no forces, or failed.
    """
    if not under_test.has_forces:
        raise ModelError("the model computes no forces")
    random = under_test.random("nve")
    structure, lattice = _start(under_test)
    masses = _masses(structure)
    velocities = random.normal(size=(len(structure), 3)) * np.sqrt(TEMPERATURE * units.kB / masses)
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    step = STEP_OF_UNIT_MASS * float(np.sqrt(masses.min()))
    totals, potentials = _integrate(under_test, structure, velocities, masses, step * units.fs)
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


def _start(under_test: ModelUnderTest) -> tuple[Structure, str]:
    """Return the crystal of least energy per atom, and the name of its lattice."""
    found: dict[str, Structure] = {}
    energies: dict[str, float] = {}
    for lattice in LATTICES:
        nearest = under_test.nearest(lattice, under_test.species)
        # The species must be in the order in which `find_nearest` had them.
        found[lattice] = perfect_crystal(lattice, EIGHT_ATOMS[lattice], nearest, sorted(under_test.species))
        try:
            energies[lattice] = under_test.energy(found[lattice]) / len(found[lattice])
        except ModelError:
            # The model may be able to compute another lattice.
            continue
    if not energies:
        raise ModelError(f"the model {under_test.name} can compute no crystal")
    best = min(energies, key=lambda lattice: energies[lattice])
    return found[best], best


def _masses(structure: Structure) -> Floats:
    """Return masses [n, 1] in ASE's unit; species that are no elements have the mass 1."""
    return np.array([[atomic_masses[atomic_numbers.get(name, 0)]] for name in structure.species], dtype=np.float64)


def _integrate(
    under_test: ModelUnderTest, structure: Structure, velocities: Floats, masses: Floats, step: float
) -> tuple[Floats, Floats]:
    """Return total and potential energies per atom at each step, until an atom is thrown out."""
    now = under_test.evaluate(structure)
    totals, potentials = [], []
    for index in range(STEPS + 1):
        kinetic = 0.5 * float((masses * velocities**2).sum())
        totals.append((now.energy + kinetic) / len(structure))
        potentials.append(now.energy / len(structure))
        velocities = velocities + 0.5 * step * _forces(now) / masses
        if float(np.abs(step * velocities).max()) > GREATEST_MOVE:
            break
        structure = _wrapped(structure, structure.positions + step * velocities)
        now = under_test.evaluate(structure)
        velocities = velocities + 0.5 * step * _forces(now) / masses
        under_test.progress((index + 1) / (STEPS + 1))
    return np.array(totals), np.array(potentials)


def _wrapped(structure: Structure, positions: Floats) -> Structure:
    """Return the atoms at these positions, brought back into the box."""
    fractions = np.linalg.solve(structure.cell.T, positions.T).T
    return structure.moved(positions - np.floor(fractions) @ structure.cell)


def _forces(of: EnergyAndForces) -> Floats:
    assert of.forces is not None
    return of.forces
