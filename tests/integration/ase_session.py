# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user's session with ASE, run by test_ase.py in a process of its own.

It prints one JSON object: the calculators' results for a rattled crystal, and the state in which MD ended.
"""

import gc
import json

import numpy as np
import tiny_models as tiny
from ase import Atoms, units
from ase.calculators.kim import KIM
from ase.md.verlet import VelocityVerlet
from configurations import crystal

STEP = 1e-4  # Å for coordinates, without a unit for strains
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def energy_of(atoms: Atoms, calculator: KIM) -> float:
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_potential_energy()


def central_difference(changed, calculator: KIM) -> float:
    """Return the derivative of the energy of changed(x) by x at x = 0, by central differences of fourth order."""
    e = {k: energy_of(changed(k * STEP), calculator) for k in (-2, -1, 1, 2)}
    return (e[-2] - 8.0 * e[-1] + 8.0 * e[1] - e[2]) / (12.0 * STEP)


def moved(atoms: Atoms, atom: int, axis: int, by: float) -> Atoms:
    copy = atoms.copy()
    copy.positions[atom, axis] += by
    return copy


def strained(atoms: Atoms, component: int, by: float) -> Atoms:
    copy = atoms.copy()
    strain = np.zeros((3, 3))
    first, second = VOIGT[component]
    strain[first, second] += 0.5 * by
    strain[second, first] += 0.5 * by
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def results(name: str) -> dict:
    """Return energy, forces and stress of a crystal, and forces and stress once more from energies alone."""
    atoms = crystal()
    calculator = KIM(name)
    atoms.calc = calculator
    found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    numerical = KIM(name)
    found["numerical_forces"] = [
        [-central_difference(lambda by, i=i, k=k: moved(atoms, i, k, by), numerical) for k in range(3)]
        for i in range(2)
    ]
    found["numerical_stress"] = [
        central_difference(lambda by, c=c: strained(atoms, c, by), numerical) / atoms.get_volume() for c in range(6)
    ]
    return {key: np.asarray(value).tolist() for key, value in found.items()}


def energies_of_successive_calculators(name: str) -> list[float]:
    """Return energies of the same atoms from calculators that are deleted, collected and made again."""
    energies = []
    for _ in range(3):
        calculator = KIM(name)
        energies.append(energy_of(crystal(), calculator))
        del calculator
        gc.collect()
    return energies


def total_energies_in_md(name: str) -> list[float]:
    atoms = crystal()
    atoms.calc = KIM(name)
    dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(20)
    return [*energies, atoms.get_kinetic_energy()]


def main() -> None:
    names = (tiny.RAW, tiny.RAW_FORCES, tiny.GRAPH_2, tiny.DESCRIPTOR)
    session = {
        "models": {name: results(name) for name in names},
        "again": energies_of_successive_calculators(tiny.GRAPH_2),
        "md": total_energies_in_md(tiny.GRAPH_2),
    }
    print(json.dumps(session))


if __name__ == "__main__":
    main()
