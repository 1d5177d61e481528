# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM model in LAMMPS: one structure and molecular dynamics from it on, and a crystal at several volumes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.lammpsdata import write_lammps_data
from calculators import TIME_STEP, one_thread
from compared_structures import crystal
from results import Curve, Result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lammps_md import find_lammps, milliseconds_per_step

# LAMMPS' own factor between bar and eV/Å³.
_BAR = 1.6021765e6

_SET_UP = """\
units metal
atom_style atomic
kim init {model} metal
neigh_modify every 1 delay 0 check yes
read_data structure.data
kim interactions {species}
thermo_style custom step pe press pxx pyy pzz pyz pxz pxy
"""
_DYNAMICS = """\
run 0
write_dump all custom forces.dump id fx fy fz modify sort id format float %.17g
print "$(pe:%.17g) $(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pyz:%.17g) $(pxz:%.17g) $(pxy:%.17g)" file energy.txt
timestep {time_step}
fix integrate all nve
run {steps}
"""
_VOLUME = """\
change_box all x final 0 {edge!r} y final 0 {edge!r} z final 0 {edge!r} remap units box
run 0
print "$(vol:%.17g) $(pe:%.17g)" append energies.txt
"""


def run_structure(model: str, atoms: Atoms, steps: int, folder: Path) -> tuple[Result, float]:
    """Compute a structure, and then time molecular dynamics (NVE) from it on, with atoms at rest.

    Args:
        model: KIM model.
        atoms: A structure in a periodic cell along x, y, z.
        steps: Number of steps.
        folder: Folder for LAMMPS' files; it is made if it does not exist.
    Returns:
        The result, and the wall time of a step, ms.
    Raises:
        RuntimeError: If LAMMPS fails; the message holds its last lines.
    """
    commands = (_SET_UP + _DYNAMICS).format(
        model=model, species=_species(atoms), time_step=TIME_STEP / 1000.0, steps=steps
    )
    printed = _run(commands, atoms, folder)
    energy, *pressures = np.loadtxt(folder / "energy.txt")
    forces = np.loadtxt(folder / "forces.dump", skiprows=9)[:, 1:4]
    return Result(float(energy), forces, -np.array(pressures) / _BAR), milliseconds_per_step(printed)


def run_volumes(model: str, lattice_constants: list[float], folder: Path) -> Curve:
    """Compute perfect silicon at several volumes, in one run that changes LAMMPS' box.

    Args:
        model: KIM model.
        lattice_constants: Å.
        folder: Folder for LAMMPS' files; it is made if it does not exist.
    Raises:
        RuntimeError: If LAMMPS fails; the message holds its last lines.
    """
    atoms = crystal(lattice_constants[0])
    commands = _SET_UP.format(model=model, species=_species(atoms))
    (folder / "energies.txt").unlink(missing_ok=True)
    _run(commands + "".join(_VOLUME.format(edge=each) for each in lattice_constants), atoms, folder)
    volumes, energies = np.loadtxt(folder / "energies.txt", unpack=True)
    return Curve(volumes / len(atoms), energies / len(atoms), len(atoms))


def notice_of_driver(folder: Path) -> str:
    """Return what the driver said of the model in the last run in a folder: what runs where, and how."""
    lines = (folder / "printed.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith("[kim-torchml] driver ")), "")


def _species(atoms: Atoms) -> str:
    return " ".join(dict.fromkeys(atoms.get_chemical_symbols()))


def _run(commands: str, atoms: Atoms, folder: Path) -> str:
    """Run LAMMPS; return what it has printed, which is kept in printed.txt too."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lammps_data(folder / "structure.data", atoms, specorder=_species(atoms).split(), masses=True)
    (folder / "in.lammps").write_text(commands, encoding="utf-8")
    done = subprocess.run(
        [find_lammps(), "-in", "in.lammps"],
        cwd=folder,
        env=one_thread(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    (folder / "printed.txt").write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        raise RuntimeError("LAMMPS failed:\n" + "\n".join(done.stdout.splitlines()[-15:]))
    return done.stdout
