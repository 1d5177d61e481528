# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was computed, how far LAMMPS and ASE are from the package's own calculator, and whether that is too far."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.eos import EquationOfState
from ase.units import GPa

LAMMPS, ASE, PACKAGE = "LAMMPS", "ASE", "SevenNet's own"
SIMULATORS = (LAMMPS, ASE)
# In single precision, sums in another order differ by this much: eV/atom, eV/Å, eV/Å³.
LIMITS = {"energy": 2e-6, "forces": 2e-5, "pressure": 2e-6}
UNITS = {"energy": "eV/atom", "forces": "eV/Å", "pressure": "eV/Å³"}


@dataclass(frozen=True)
class Result:
    """What one calculator gives for a structure.

    Attributes:
        energy: eV.
        forces: shape [atoms, 3], eV/Å.
        stress: shape [6], Voigt order xx, yy, zz, yz, xz, xy, eV/Å³.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray

    @property
    def pressure(self) -> float:
        """Pressure, GPa."""
        return float(-self.stress[:3].mean() / GPa)


@dataclass(frozen=True)
class Compared:
    """One structure in both simulators and with the package's own calculator.

    Attributes:
        name: name of the structure.
        results: results by LAMMPS, ASE and PACKAGE.
        times: by the same names, times per step of each turn, ms.
    """

    name: str
    results: dict[str, Result]
    times: dict[str, list[float]]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.results[PACKAGE].forces)

    def time(self, where: str) -> float:
        """Return the time per step in the best turn, which other work on the machine has disturbed least, ms."""
        return min(self.times[where])

    def differences(self, simulator: str) -> dict[str, float]:
        """Return how far a simulator is from the package's own calculator.

        Returns:
            Difference of the energy, eV/atom, and the largest ones of a component of the forces, eV/Å, and of the
            pressure tensor, eV/Å³, by the keys of LIMITS.
        """
        found, wanted = self.results[simulator], self.results[PACKAGE]
        return {
            "energy": abs(found.energy - wanted.energy) / self.n_atoms,
            "forces": float(np.abs(found.forces - wanted.forces).max()),
            "pressure": float(np.abs(found.stress - wanted.stress).max()),
        }


@dataclass(frozen=True)
class Curve:
    """Energies of a cubic crystal at several volumes.

    Attributes:
        volumes: volume per atom, shape [volumes], Å³.
        energies: energy per atom, shape [volumes], eV.
        n_atoms: number of atoms in the cubic cell.
    """

    volumes: np.ndarray
    energies: np.ndarray
    n_atoms: int

    @cached_property
    def fit(self) -> EquationOfState:
        """Equation of Birch and Murnaghan, with volume `v0` (Å³), energy `e0` (eV), both per atom, and `B` (eV/Å³)."""
        equation = EquationOfState(self.volumes, self.energies, eos="birchmurnaghan")
        equation.fit(warn=False)
        return equation

    def fitted(self, volumes: np.ndarray) -> np.ndarray:
        """Return the fitted energy per atom (eV) at volumes per atom (Å³)."""
        return self.fit.func(volumes, *self.fit.eos_parameters)

    @property
    def lattice_constant(self) -> float:
        """Lattice constant of least energy, Å."""
        return float((self.n_atoms * self.fit.v0) ** (1 / 3))

    @property
    def bulk_modulus(self) -> float:
        """Bulk modulus, GPa."""
        return float(self.fit.B / GPa)

    @property
    def least_energy(self) -> float:
        """Energy per atom at the minimum, eV."""
        return float(self.fit.e0)


def excesses(compared: list[Compared], curves: dict[str, Curve]) -> list[str]:
    """Return a sentence for each difference that is larger than it may be."""
    found = []
    for each in compared:
        for simulator in SIMULATORS:
            for what, difference in each.differences(simulator).items():
                found.extend(_excess(f"the {what} of {each.name} in {simulator}", what, difference))
    difference = float(np.abs(curves[LAMMPS].energies - curves[PACKAGE].energies).max())
    return [*found, *_excess("an energy of the equation of state in LAMMPS", "energy", difference)]


def _excess(subject: str, what: str, difference: float) -> list[str]:
    # NaN is no small difference either.
    if difference <= LIMITS[what]:
        return []
    verb = "differ" if what == "forces" else "differs"
    unit = UNITS[what]
    allowed = f"allowed: {LIMITS[what]:.0e} {unit}"
    return [f"{subject} {verb} by {difference:.1e} {unit} from {PACKAGE} calculator ({allowed})"]
