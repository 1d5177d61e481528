# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of MACE: no wheel holds weights of it, so small networks are made."""

from ase.calculators.calculator import Calculator
from converted import DOUBLE, Converted, Limits, TriedFamily, Wanted
from structures import SPECIES, STRUCTURES

# The package's own calculator sums the energies of all atoms in single precision.
_SINGLE = Limits(5e-6, 5e-5, 5e-6)


def _calculator(wanted: Wanted) -> Calculator:
    import torch
    from mace.calculators import MACECalculator

    # A factor of its ZBL repulsion has torch's default type, whatever the network's is.
    torch.set_default_dtype(getattr(torch, wanted.dtype))
    named = {} if wanted.head is None else {"head": wanted.head}
    return MACECalculator(model_paths=wanted.source, default_dtype=wanted.dtype, device=wanted.device, **named)


def _model(name: str, source: str, limits: Limits = _SINGLE, **more) -> Converted:
    return Converted(name, "mace", f"{source}.model", limits, **more)


TRIED = TriedFamily(
    package="mace-torch",
    models=(
        _model("Mace_Small", "small", is_quick=True),
        _model("Mace_Small_Double", "small", DOUBLE, dtype="float64"),
        _model("Mace_Heads", "heads", head="r2scan"),
        _model("Mace_Density", "density"),
        _model("Mace_Plain", "plain", DOUBLE, dtype="float64"),
        # In single precision alone, a box twice as long has twice the energy but for more rounding than is measured.
        _model("Mace_Nonlinear", "nonlinear", head="spice", graded_f=("periodicity-support",)),
        _model("Mace_Script", "small", file_format="pt"),
        _model("Mace_For_Lammps", "small", file_format="pt", made_into="small.model-lammps.pt", is_quick=True),
    ),
    structures=STRUCTURES,
    species=SPECIES,
    calculator=_calculator,
    maker="make_mace.py",
)
