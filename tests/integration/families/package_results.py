# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a package's own calculator gives for all structures; runs in the environment of the package.

python package_results.py FAMILY SOURCE DTYPE OUTPUT.npz [--modal M] [--head H]
"""

import argparse
import warnings

import numpy as np
from structures import STRUCTURES


def calculator_of(family: str, source: str, dtype: str, modal: str | None, head: str | None):
    """Return the calculator as its package's users make it."""
    if family == "mace":
        import torch
        from mace.calculators import MACECalculator

        # A factor of its ZBL repulsion has torch's default type, whatever the network's is.
        torch.set_default_dtype(getattr(torch, dtype))
        named = {} if head is None else {"head": head}
        return MACECalculator(model_paths=source, default_dtype=dtype, device="cpu", **named)
    if dtype == "float32":
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(source, device="cpu", modal=modal)
    # The package's own calculator knows single precision alone: this is its network in double precision.
    from kim_torchml.tools.convert.families import FAMILIES
    from kim_torchml.tools.convert.family import Asked

    return FAMILIES[family].load(Asked(source, head, modal, dtype, trusts=True)).calculator()


def main() -> None:
    """Write energies (eV), forces (eV/Å) and stresses (eV/Å³) by the names of the structures."""
    parser = argparse.ArgumentParser()
    for name in ("family", "source", "dtype", "output"):
        parser.add_argument(name)
    parser.add_argument("--modal")
    parser.add_argument("--head")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    calculator = calculator_of(asked.family, asked.source, asked.dtype, asked.modal, asked.head)
    found = {}
    for name, make in STRUCTURES.items():
        atoms = make()
        atoms.calc = calculator
        found[f"{name}.energy"] = float(atoms.get_potential_energy())
        found[f"{name}.forces"] = np.asarray(atoms.get_forces(), dtype=float)
        if all(atoms.pbc):
            found[f"{name}.stress"] = np.asarray(atoms.get_stress(), dtype=float)
    np.savez(asked.output, **found)


if __name__ == "__main__":
    main()
