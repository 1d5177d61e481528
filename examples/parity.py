# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forces of a KIM model against the reference's, on silicon that the graph example was not trained on."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.kim import KIM
from reference import reference_calculator

_SEED = 987654  # a seed that the training script does not use


@dataclass(frozen=True)
class Parity:
    """Forces on the same configurations.

    Attributes:
        model: KIM model.
        kinds: Kind of each configuration.
        forces: Forces of the model in each configuration, shape [n, 3], eV/Å.
        reference_forces: Forces of the reference in the same configurations.
    """

    model: str
    kinds: list[str]
    forces: list[np.ndarray]
    reference_forces: list[np.ndarray]

    def of_kind(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return all components of the reference's and of the model's forces in configurations of a kind, eV/Å."""
        chosen = [i for i, other in enumerate(self.kinds) if other == kind]
        reference, model = ([forces[i].ravel() for i in chosen] for forces in (self.reference_forces, self.forces))
        return np.concatenate(reference), np.concatenate(model)

    def rmse(self, kind: str) -> float:
        """Return the root mean square force difference by component in configurations of a kind, eV/Å."""
        reference, model = self.of_kind(kind)
        return float(np.sqrt(np.mean((model - reference) ** 2)))


def unseen_configurations() -> list[tuple[str, Atoms]]:
    """Return the kind and the atoms of rattled, strained and strongly disordered silicon, 64 atoms each."""
    generator = np.random.default_rng(_SEED)
    configurations = []
    for kind, displacement, strain in (("rattled", 0.05, 0.0), ("strained", 0.05, 0.04), ("disordered", 0.2, 0.02)):
        for _ in range(4):
            atoms = bulk("Si", "diamond", a=5.431, cubic=True).repeat(2)
            deformation = np.eye(3) + strain * generator.uniform(-1.0, 1.0, (3, 3))
            atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
            atoms.positions += generator.normal(0.0, displacement, atoms.positions.shape)
            configurations.append((kind, atoms))
    return configurations


def compare_with_reference(model: str) -> Parity:
    """Return a model's and the reference's forces on the unseen configurations."""
    reference, calculator = reference_calculator(), KIM(model)
    kinds, forces, reference_forces = [], [], []
    for kind, atoms in unseen_configurations():
        kinds.append(kind)
        for current, collected in ((calculator, forces), (reference, reference_forces)):
            atoms.calc = current
            collected.append(atoms.get_forces())
    return Parity(model, kinds, forces, reference_forces)
