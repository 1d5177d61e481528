# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model gives through ASE's KIM calculator for all structures: python ase_results.py MODEL OUTPUT.npz"""

import sys

import numpy as np
from ase.calculators.kim import KIM
from structures import STRUCTURES


def main() -> None:
    """Write energies, forces and stresses as package_results.py does."""
    found = {}
    for name, make in STRUCTURES.items():
        atoms = make()
        atoms.calc = KIM(sys.argv[1])
        found[f"{name}.energy"] = atoms.get_potential_energy()
        found[f"{name}.forces"] = atoms.get_forces()
        if all(atoms.pbc):
            found[f"{name}.stress"] = atoms.get_stress()
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
