# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find the lattice constant of silicon with the model of docs/tutorial.md, in ASE."""

from ase.build import bulk
from ase.calculators.kim import KIM
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

atoms = bulk("Si", a=5.3, cubic=True)
atoms.calc = KIM("My_Potential")
BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4)
print(f"lattice constant: {atoms.cell.lengths()[0]:.3f} Å, energy: {atoms.get_potential_energy() / len(atoms):.3f} eV")
