# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS runs that write every frame with all digits, and LAMMPS computing these frames once more."""

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase import Atoms
from configurations import SPECIES
from lammps_host import write_data

_SET_UP = """\
clear
log {name}.{way}.log
units metal
atom_style atomic
atom_modify map array sort 10 2.0
boundary {boundary}
processors {processors}
kim init {model} metal
neighbor {skin} bin
neigh_modify every {every} delay 0 check {check}
{read}
{box}
kim interactions {species}
{settings}
compute energies all pe/atom
compute virials all stress/atom NULL virial
compute virial all pressure NULL virial
thermo 1
thermo_style custom step pe c_virial[*]
thermo_modify format float %.17g lost ignore norm no flush yes
dump frames all custom 1 {name}.{way}.dump id type x y z fx fy fz c_energies c_virials[*] proc
dump_modify frames sort id format float %.17g
"""

FIRST, AGAIN = "first", "again"


@dataclass(frozen=True)
class Script:
    """A structure, and LAMMPS commands that move it.

    Attributes:
        name: name of the files that the script reads and writes.
        model: KIM id of the model.
        atoms: structure; its cell is LAMMPS' box and must be lower triangular.
        commands: LAMMPS commands.
        every: steps between the times when neighbours are looked for.
        check: whether LAMMPS then looks whether atoms have moved far enough.
        skin: how far neighbour lists reach beyond the cutoff, Å.
        is_tilted: whether the box is triclinic.
        restart: name of the file that the commands go on from, in place of the atoms; none if they do not.
        settings: LAMMPS commands that hold for the frames too, when they are computed again.
        changes_box: steps between the times when the box is changed at the end of the step; 0 if it is not.
        processors: LAMMPS' grid of processors.
    """

    name: str
    model: str
    atoms: Atoms
    commands: str
    every: int = 1
    check: bool = True
    skin: float = 0.5
    is_tilted: bool = True
    restart: str = ""
    settings: str = ""
    changes_box: int = 0
    processors: str = "* * *"

    def write(self, folder: Path) -> str:
        """Write the data file; return LAMMPS' commands, which write each step's frame."""
        write_data(self.atoms, tuple(SPECIES), folder / f"{self.name}.data")
        return self._set_up(FIRST, self.restart) + self.commands.format(name=self.name) + "\n"

    def write_again(self) -> str:
        """Return LAMMPS' commands that compute the frames of the first run."""
        frames = f"rerun {self.name}.{FIRST}.dump dump x y z box yes purge yes replace no add keep\n"
        return self._set_up(AGAIN, "") + frames

    def _set_up(self, way: str, restart: str) -> str:
        return _SET_UP.format(
            name=self.name,
            way=way,
            boundary=" ".join("p" if periodic else "f" for periodic in self.atoms.pbc),
            # One rank computes the frames again.
            processors=self.processors if way == FIRST else "* * *",
            model=self.model,
            skin=self.skin,
            every=self.every,
            check="yes" if self.check else "no",
            read=f"read_restart {restart}" if restart else f"read_data {self.name}.data",
            box="" if self.is_tilted or restart else "change_box all ortho",
            species=" ".join(SPECIES),
            settings=self.settings,
        )

    def read(self, folder: Path, way: str) -> "list[Frame]":
        """Read the frames that a run has written, without those whose box has changed since the forces."""
        tables = _tables_of_log((folder / f"{self.name}.{way}.log").read_text())
        # A frame is written when its step is first reached; another command may then change the atoms.
        of_step: dict[int, np.ndarray] = {}
        for row in np.concatenate(tables):
            of_step.setdefault(int(row[0]), row)
        frames = []
        for step, box, atoms in _frames_of_dump((folder / f"{self.name}.{way}.dump").read_text()):
            if self.changes_box and step % self.changes_box == 0:
                continue
            row = of_step[step]
            frames.append(
                Frame(
                    step,
                    box,
                    row[1],
                    row[2:8],
                    ids=atoms[:, 0],
                    positions=atoms[:, 2:5],
                    forces=atoms[:, 5:8],
                    energies=atoms[:, 8],
                    virials=atoms[:, 9:15],
                    ranks=atoms[:, 15].astype(int),
                )
            )
        return frames


@dataclass(frozen=True)
class Frame:
    """What LAMMPS has written of one step.

    Attributes:
        step: number of the step.
        box: LAMMPS' bounds of the box and its tilts, Å; two or three numbers for each direction.
        energy: potential energy, eV.
        pressure: the part of the pressure tensor that comes of forces, shape [6], bar.
        ids: LAMMPS' ids of the atoms, shape [n].
        positions: shape [n, 3], Å.
        forces: shape [n, 3], eV/Å.
        energies: energies of the atoms, shape [n], eV.
        virials: stress times volume of the atoms, shape [n, 6], bar Å³.
        ranks: rank that has each atom, shape [n].
    """

    step: int
    box: np.ndarray
    energy: float
    pressure: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    energies: np.ndarray
    virials: np.ndarray
    ranks: np.ndarray


def computed_energies(log: str) -> list[float]:
    """Return the energies of all lines of a log, also of those of the same step, eV."""
    return [float(row[1]) for table in _tables_of_log(log) for row in table]


def _tables_of_log(log: str) -> list[np.ndarray]:
    lines = log.splitlines()
    starts = [i + 1 for i, line in enumerate(lines) if line.split()[:2] == ["Step", "PotEng"]]
    ends = [i for i, line in enumerate(lines) if line.startswith("Loop time")]
    tables = [lines[start:end] for start, end in zip(starts, ends, strict=True)]
    # LAMMPS warns between the lines of a table.
    return [np.loadtxt([line for line in table if not line.startswith("WARNING")], ndmin=2) for table in tables]


def _frames_of_dump(dump: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
    lines = dump.splitlines()
    starts = [i for i, line in enumerate(lines) if line == "ITEM: TIMESTEP"]
    frames = []
    for start, end in pairwise([*starts, len(lines)]):
        rows = np.loadtxt(io.StringIO("\n".join(lines[start + 9 : end])), ndmin=2)
        frames.append((int(lines[start + 1]), np.loadtxt(lines[start + 5 : start + 8]), rows))
    return frames
