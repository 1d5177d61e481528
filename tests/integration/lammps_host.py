# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS run as a user runs it: an input file, on one or more MPI ranks."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from configurations import SPECIES
from kim_collection import KimCollection

_SET_UP = """\
clear
units {units}
atom_style atomic
atom_modify map array sort 0 0
boundary {boundary}
processors {processors}
kim init {model} {units}
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
box tilt large
read_data {name}.data
kim interactions {species}
"""

_MEASURE = """\
compute atom_energy all pe/atom
compute total all reduce sum c_atom_energy
thermo_style custom step pe ke etotal c_total press{tensor}
{run}
write_dump all custom {name}.dump id fx fy fz c_atom_energy modify sort id format float %.17g
print "$(pe:%.17g) $(c_total:%.17g) $(press:%.17g)" file {name}.energy
"""
_TENSOR = " pxx pyy pzz pyz pxz pxy"
_MEASURE_TENSOR = """\
print "$(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pyz:%.17g) $(pxz:%.17g) $(pxy:%.17g)" file {name}.pressures
"""


@dataclass(frozen=True)
class Case:
    """One structure with one model in LAMMPS.

    Attributes:
        name: name of the files that the case reads and writes.
        model: KIM id of the model.
        atoms: structure, whose cell is LAMMPS' box and must be lower triangular.
        processors: LAMMPS' grid of processors.
        run: LAMMPS commands that compute.
        units: LAMMPS' unit system.
        species: element symbols in the order of LAMMPS' types.
        has_pressures: whether the pressure tensor is written too; `run` must then keep the columns of thermo_style.
    """

    name: str
    model: str
    atoms: Atoms
    processors: str = "* * *"
    run: str = "run 0"
    units: str = "metal"
    species: tuple[str, ...] = tuple(SPECIES)
    has_pressures: bool = False

    def write(self, folder: Path) -> str:
        """Write the data file and return LAMMPS' commands."""
        write_data(self.atoms, self.species, folder / f"{self.name}.data")
        boundary = " ".join("p" if periodic else "f" for periodic in self.atoms.pbc)
        values = vars(self) | {"boundary": boundary, "species": " ".join(self.species)}
        values["tensor"] = _TENSOR if self.has_pressures else ""
        return (_SET_UP + _MEASURE + _MEASURE_TENSOR * self.has_pressures).format(**values)

    def read(self, folder: Path) -> "CaseResults":
        """Read the results that LAMMPS has written."""
        rows = np.atleast_2d(np.loadtxt(folder / f"{self.name}.dump", skiprows=9))
        energy, sum_of_atoms, pressure = map(float, (folder / f"{self.name}.energy").read_text().split())
        pressures = np.loadtxt(folder / f"{self.name}.pressures") if self.has_pressures else None
        return CaseResults(energy, sum_of_atoms, pressure, rows[:, 1:4], rows[:, 4], pressures)


@dataclass(frozen=True)
class CaseResults:
    """What LAMMPS has written.

    Attributes:
        energy: potential energy, eV.
        sum_of_atoms: sum of the atoms' energies, eV.
        pressure: bar.
        forces: shape [atoms, 3], eV/Å.
        atom_energies: shape [atoms], eV.
        pressures: pressure tensor, shape [6], Voigt order xx, yy, zz, yz, xz, xy, bar; None where it was not asked for.
    """

    energy: float
    sum_of_atoms: float
    pressure: float
    forces: np.ndarray
    atom_energies: np.ndarray
    pressures: np.ndarray | None


def write_data(atoms: Atoms, species: tuple[str, ...], path: Path) -> None:
    """Write a LAMMPS data file with all digits of the coordinates."""
    (xx, _, _), (xy, yy, _), (xz, yz, zz) = atoms.cell.array.tolist()
    lines = [
        "atoms of a test",
        "",
        f"{len(atoms)} atoms",
        f"{len(species)} atom types",
        *(f"0.0 {high!r} {axis}lo {axis}hi" for axis, high in zip("xyz", (xx, yy, zz), strict=True)),
        f"{xy!r} {xz!r} {yz!r} xy xz yz",
        "\nMasses\n",
        *(f"{number} 28.0" for number in range(1, len(species) + 1)),
        "\nAtoms\n",
    ]
    for number, (symbol, position) in enumerate(zip(atoms.symbols, atoms.positions.tolist(), strict=True), start=1):
        lines.append(f"{number} {species.index(symbol) + 1} {' '.join(map(repr, position))}")
    path.write_text("\n".join(lines) + "\n")


def run_lammps(
    collection: KimCollection, folder: Path, commands: str, ranks: int = 1, timeout: float = 120, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run LAMMPS commands, under mpirun if there is more than one rank."""
    script = folder / "in.lammps"
    script.write_text(commands)
    launcher = [] if ranks == 1 else ["mpirun", "--oversubscribe", "-np", str(ranks)]
    return subprocess.run(
        [*launcher, "lmp", "-in", script.name, "-nocite"],
        cwd=folder,
        env=collection.environment | variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def lines_of_driver(printed: str) -> list[str]:
    """Return the driver's lines on stderr, where hwloc and Open MPI write as well, of the machine they run on."""
    return [line for line in printed.splitlines(keepends=True) if "kim-torchml" in line]


def first_use_lines(printed: str) -> list[str]:
    """Return those of the driver's lines in which each process says what it computes with."""
    return [line for line in lines_of_driver(printed) if "] driver " in line]
