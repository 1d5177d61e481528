# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of ANI: the ensemble that the wheel holds, for molecules and for carbon."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from converted import DOUBLE, Converted, Limits, TriedFamily, Wanted
from structures import water

_SINGLE = Limits(2e-6, 2e-4, 2e-6)
# Equal rounding of equal distances adds up in a crystal, for which the networks were not trained: what the package's
# own calculator gives in single and in double precision differs by up to 4e-6 eV/atom and 5e-6 eV/Å³ there.
_CRYSTALS = dict.fromkeys(("diamond64", "primitive", "slab", "tilted"), Limits(1e-5, 2e-4, 2e-5))
# The derivative of the force has jumps: the second derivative of its activation functions does, in the package too.
_KINKS = "dimer-continuity-c1"
_DIAMOND = 3.567
_MOLECULES = ("CH4", "H2O", "NH3", "HCN", "CO2", "H2CO", "CH3OH", "N2")
# Å, the edge of the part of a box that has one molecule.
_ROOM = 4.2


def _calculator(wanted: Wanted) -> Calculator:
    import torchani
    from torchani import models, neurochem

    folder = Path(torchani.__file__).parent / "resources" / "ani-1x_8x"
    constants = neurochem.Constants(str(folder / "rHCNO-5.2R_16-3.5A_a4-8.params"))
    shifter, self_energies = neurochem.load_sae(str(folder / "sae_linfit.dat"), return_dict=True)
    networks = neurochem.load_model_ensemble(constants.species, str(folder / "train"), 8)
    # This is what torchani.models.ANI1x() makes, whose list of these files is empty in the wheel.
    network = models.BuiltinEnsemble(
        torchani.SpeciesConverter(constants.species), torchani.AEVComputer(**constants), networks, shifter,
        constants.species_to_tensor, constants, self_energies, False,
    )  # fmt: skip
    if wanted.dtype == "float64":
        network.double()
    return network.to(wanted.device).eval().ase()


def _box() -> Atoms:
    """Return small molecules in a periodic box, turned at random."""
    random = np.random.default_rng(6)
    atoms = Atoms(cell=np.diag([2 * _ROOM] * 3), pbc=True)
    for place, name in enumerate(_MOLECULES):
        each = molecule(name)
        each.euler_rotate(*random.uniform(0, 360, 3))
        corner = np.array([place % 2, place // 2 % 2, place // 4])
        each.translate((corner + 0.5) * _ROOM - each.get_center_of_mass())
        atoms += each
    atoms.wrap()
    return atoms


def _diamond() -> Atoms:
    atoms = bulk("C", "diamond", a=_DIAMOND, cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=1)
    return atoms


def _primitive() -> Atoms:
    atoms = bulk("C", "diamond", a=_DIAMOND)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    return atoms


def _slab() -> Atoms:
    atoms = _diamond()
    atoms.positions[:, 2] -= atoms.positions[:, 2].min() - 1.0
    atoms.cell[2, 2] += 14.0
    atoms.pbc = (True, True, False)
    return atoms


def _tilted() -> Atoms:
    atoms = _diamond()
    shear = np.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.1, -0.15, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def _in_vacuum(atoms: Atoms) -> Atoms:
    atoms.center(vacuum=8.0)
    atoms.pbc = False
    return atoms


TRIED = TriedFamily(
    package="torchani",
    models=(
        Converted(
            "Ani_1x",
            "ani",
            "1x",
            _SINGLE,
            is_quick=True,
            is_local=True,
            others=_CRYSTALS,
            graded_f=(_KINKS, "objectivity"),
        ),
        Converted("Ani_1x_Double", "ani", "1x", DOUBLE, dtype="float64", is_local=True, graded_f=(_KINKS,)),
    ),
    structures={
        "water36": lambda: water(12),
        "ethanol": lambda: _in_vacuum(molecule("CH3CH2OH")),
        "box": _box,
        **{f"atom_{symbol}": lambda symbol=symbol: _in_vacuum(Atoms(symbol)) for symbol in "HCNO"},
        "dimer": lambda: _in_vacuum(Atoms("NO", positions=[[0, 0, 0], [0.6, 0.7, 0.8]])),
        "diamond64": _diamond,
        "primitive": _primitive,
        "slab": _slab,
        "tilted": _tilted,
    },
    species=("H", "C", "N", "O"),
    calculator=_calculator,
)
