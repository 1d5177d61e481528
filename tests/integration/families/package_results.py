# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a package's own calculator gives for a family's structures; runs in the environment of the package.

python package_results.py FAMILY SOURCE DTYPE OUTPUT.npz [--modal M] [--head H]
"""

import argparse
import warnings

import numpy as np
from converted import Wanted
from tried_families import TRIED_FAMILIES


def main() -> None:
    """Write energies (eV), forces (eV/Å) and stresses (eV/Å³) by the names of the structures."""
    parser = argparse.ArgumentParser()
    for name in ("family", "source", "dtype", "output"):
        parser.add_argument(name)
    parser.add_argument("--modal")
    parser.add_argument("--head")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    family = TRIED_FAMILIES[asked.family]
    calculator = family.calculator(Wanted(asked.source, asked.dtype, modal=asked.modal, head=asked.head))
    found = {}
    for name, make in family.structures.items():
        atoms = make()
        atoms.calc = calculator
        found[f"{name}.energy"] = float(atoms.get_potential_energy())
        found[f"{name}.forces"] = np.asarray(atoms.get_forces(), dtype=float)
        if all(atoms.pbc):
            found[f"{name}.stress"] = np.asarray(atoms.get_stress(), dtype=float)
    np.savez(asked.output, **found)


if __name__ == "__main__":
    main()
