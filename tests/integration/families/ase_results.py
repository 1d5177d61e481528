# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model gives through ASE's KIM calculator for a family's structures: python ase_results.py FAMILY MODEL NPZ"""

import sys

import numpy as np
from ase.calculators.kim import KIM
from tried_families import TRIED_FAMILIES


def main() -> None:
    """Write energies, forces and stresses as package_results.py does."""
    family, model, output = sys.argv[1:]
    found = {}
    for name, make in TRIED_FAMILIES[family].structures.items():
        atoms = make()
        atoms.calc = KIM(model)
        found[f"{name}.energy"] = atoms.get_potential_energy()
        found[f"{name}.forces"] = atoms.get_forces()
        if all(atoms.pbc):
            found[f"{name}.stress"] = atoms.get_stress()
    np.savez(output, **found)


if __name__ == "__main__":
    main()
