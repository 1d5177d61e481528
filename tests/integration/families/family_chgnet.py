# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of CHGNet: the weights of its wheel, and small networks that are made."""

from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from converted import DOUBLE, Converted, Limits, TriedFamily, Wanted
from structures import SPECIES, STRUCTURES

# Angles of nearly parallel bonds lose half of all digits: the package's own calculator is up to 2e-4 eV/Å off its own
# network in double precision, where forces are 11 eV/Å.
_SINGLE, _TILTED = Limits(5e-6, 2e-4, 1e-5), Limits(5e-6, 3e-4, 1e-5)


def _calculator(wanted: Wanted) -> Calculator:
    from kim_torchml.tools.convert.chgnet_package import import_package
    from kim_torchml.tools.convert.chgnet_weights import PUBLISHED_CHGNET

    if wanted.dtype == "float32":
        package = import_package()
        if wanted.source in PUBLISHED_CHGNET:
            network = package.CHGNet.load(model_name=wanted.source, use_device=wanted.device, verbose=False)
        else:
            network = package.CHGNet.from_file(wanted.source)
        return package.CHGNetCalculator(network, use_device=wanted.device)
    # The package's own calculator knows single precision alone: this is its network in double precision.
    import torch

    from kim_torchml.tools.convert.families import FAMILIES
    from kim_torchml.tools.convert.family import Asked

    torch.set_default_dtype(torch.float64)
    return FAMILIES["chgnet"].load(Asked(wanted.source, dtype=wanted.dtype)).calculator()


def _perfect(name: str, structure: str, a: float) -> Atoms:
    """Return a perfect primitive cell, in which many bonds of one pair have one length."""
    atoms = bulk(name, structure, a=a)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    return atoms


def _model(name: str, source: str, limits: Limits = _SINGLE, **more) -> Converted:
    # For the same reason atoms in another cell, turned, or in another order have other energies in single precision.
    graded_f = ("periodicity-support", "objectivity", "permutation-symmetry") if limits is _SINGLE else ()
    others = {"tilted": _TILTED} if limits is _SINGLE else {}
    return Converted(name, "chgnet", source, limits, graded_f=graded_f, others=others, **more)


TRIED = TriedFamily(
    package="chgnet",
    models=(
        _model("Chgnet_0_3_0", "0.3.0", is_quick=True),
        _model("Chgnet_0_3_0_Double", "0.3.0", DOUBLE, dtype="float64"),
        _model("Chgnet_0_3_0_Script", "0.3.0", file_format="pt"),
        _model("Chgnet_0_2_0", "0.2.0"),
        _model("Chgnet_R2scan", "r2scan"),
        _model("Chgnet_Small", "small.pth.tar", DOUBLE, dtype="float64", is_quick=True),
        _model("Chgnet_Layers", "layers.pth.tar", DOUBLE, dtype="float64"),
        _model("Chgnet_No_Bonds", "no_bonds.pth.tar", DOUBLE, dtype="float64"),
    ),
    structures={
        **STRUCTURES,
        "iron": lambda: _perfect("Fe", "bcc", 2.87),
        "aluminium": lambda: _perfect("Al", "fcc", 4.05),
        "cscl": lambda: _perfect("CsCl", "cesiumchloride", 4.12),
    },
    species=(*SPECIES, "Al", "Fe", "Cs"),
    calculator=_calculator,
    maker="make_chgnet.py",
)
