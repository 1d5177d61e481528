# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of SevenNet."""

from ase.calculators.calculator import Calculator
from converted import DOUBLE, Converted, Limits, TriedFamily, Wanted
from structures import SPECIES, STRUCTURES

_SINGLE = Limits(2e-6, 2e-5, 2e-6)


def _calculator(wanted: Wanted) -> Calculator:
    if wanted.dtype == "float32":
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(wanted.source, device=wanted.device, modal=wanted.modal)
    # The package's own calculator knows single precision alone: this is its network in double precision.
    from kim_torchml.tools.convert.families import FAMILIES
    from kim_torchml.tools.convert.family import Asked

    asked = Asked(wanted.source, modal=wanted.modal, dtype=wanted.dtype, trusts=True)
    return FAMILIES["sevennet"].load(asked).calculator()


def _model(name: str, source: str, limits: Limits = _SINGLE, **more) -> Converted:
    # The networks of the wheel have features of one parity, so that a mirror image has another energy.
    return Converted(name, "sevennet", source, limits, fails=("mirror",), **more)


TRIED = TriedFamily(
    package="sevenn",
    models=(
        _model("SevenNet_0", "7net-0", is_quick=True),
        _model("SevenNet_0_Double", "7net-0", DOUBLE, dtype="float64"),
        _model("SevenNet_L3i5", "7net-l3i5"),
        # In single precision alone, a box twice as long has twice the energy but for more rounding than is measured.
        _model("SevenNet_MF_0_R2scan", "7net-mf-0", modal="R2SCAN", graded_f=("periodicity-support",)),
    ),
    structures=STRUCTURES,
    species=SPECIES,
    # A dimer takes a tenth of a second, and the curve of each pair has hundreds.
    verified=("O", "Si"),
    calculator=_calculator,
)
