# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of NequIP and Allegro: no wheel holds weights of them, so small networks are trained."""

from ase.calculators.calculator import Calculator
from converted import DOUBLE, Converted, Limits, TriedFamily, Wanted
from structures import SPECIES, STRUCTURES

_SINGLE = Limits(5e-6, 5e-5, 5e-6)


def _calculator(wanted: Wanted) -> Calculator:
    from nequip.integrations.ase import NequIPCalculator

    # The package knows the type that a network was trained in; another one is its network, made in that type.
    calculator = NequIPCalculator._from_saved_model(
        wanted.source, device=wanted.device, chemical_species_to_atom_type_map=True
    )
    if calculator.model.metadata["model_dtype"] == wanted.dtype:
        return calculator
    from kim_torchml.tools.convert.families import FAMILIES
    from kim_torchml.tools.convert.family import Asked

    return FAMILIES["nequip"].load(Asked(wanted.source, dtype=wanted.dtype)).calculator()


def _model(name: str, source: str, limits: Limits = _SINGLE, **more) -> Converted:
    # The vectors that a network takes are float64, whatever it computes in.
    fails = ("dtype",) if limits is _SINGLE else ()
    return Converted(name, "nequip", source, limits, fails=fails, **more)


TRIED = TriedFamily(
    package="nequip",
    models=(
        _model("NequIP_Small", "small.ckpt", is_quick=True),
        _model("NequIP_Small_Double", "small.ckpt", DOUBLE, dtype="float64"),
        _model("NequIP_Packaged", "small.nequip.zip"),
        _model("NequIP_Script", "small.ckpt", file_format="pt"),
        _model("NequIP_Modified", "modified.ckpt", DOUBLE, dtype="float64"),
        _model("Allegro_Small", "allegro.ckpt", DOUBLE, dtype="float64", is_local=True, is_quick=True),
        _model("Allegro_Pairs", "pairs.ckpt", is_local=True),
    ),
    structures=STRUCTURES,
    species=SPECIES,
    calculator=_calculator,
    maker="make_nequip.py",
)
