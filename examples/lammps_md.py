# SPDX-License-Identifier: LGPL-2.1-or-later
"""Molecular dynamics in LAMMPS with a KIM model, as a subprocess that reports its progress."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from ase.io.lammpsdata import write_lammps_data

TIME_STEP = 0.001  # ps
THERMO_EVERY = 10

_INPUT = """
units metal
atom_style atomic
kim init {model} metal
read_data configuration.data
mass 1 28.0855
kim interactions Si
velocity all create {temperature} 2026 mom yes rot no
timestep {time_step}
thermo_style custom step etotal pe
thermo_modify format float %.15g flush yes
dump forces all custom 1 forces.dump id type x y z fx fy fz
dump_modify forces sort id format float %.17g
run 0
undump forces
fix integrate all nve
thermo {thermo_every}
run {steps}
"""


@dataclass(frozen=True)
class Trajectory:
    """Results of a run.

    Attributes:
        potential_energy: Potential energy of the initial configuration, eV.
        forces: Forces in the initial configuration, shape [n, 3], eV/Å.
        times: Time of each record, shape [records], ps.
        total_energies: Total energy of each record, shape [records], eV.
        milliseconds_per_step: Wall time of the run per step.
    """

    potential_energy: float
    forces: np.ndarray
    times: np.ndarray
    total_energies: np.ndarray
    milliseconds_per_step: float

    def drift(self) -> float:
        """Return the slope of the total energy over the second half of the run, meV per atom per ps."""
        # The first half is left out: the energy oscillates there, because the run starts off equilibrium.
        half = len(self.times) // 2
        slope = np.polyfit(self.times[half:], self.total_energies[half:], 1)[0]
        return float(1000.0 * slope / len(self.forces))


def find_lammps() -> str:
    """Return the LAMMPS command.

    Raises:
        FileNotFoundError: If there is none.
    """
    for name in ("lmp", "lmp_serial", "lmp_mpi", "lammps"):
        command = shutil.which(name)
        if command is not None:
            return command
    raise FileNotFoundError("LAMMPS is not installed: apt-get install lammps")


def run_md(
    model: str, atoms: Atoms, temperature: float, steps: int, folder: Path, on_step: Callable[[int], None]
) -> Trajectory:
    """Run NVE molecular dynamics of silicon.

    Args:
        model: KIM model.
        atoms: Initial configuration.
        temperature: Temperature of the initial velocities, K.
        steps: Number of steps of 1 fs.
        folder: Folder for LAMMPS' files; it is made if it does not exist.
        on_step: Function that is called with the number of each step that LAMMPS reports.
    Returns:
        The trajectory.
    Raises:
        RuntimeError: If LAMMPS fails; the message holds its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_lammps_data(folder / "configuration.data", atoms, specorder=["Si"])
    script = _INPUT.format(
        model=model, temperature=temperature, time_step=TIME_STEP, thermo_every=THERMO_EVERY, steps=steps
    )
    (folder / "in.md").write_text(script, encoding="utf-8")
    records, output = _run_lammps(folder, on_step)
    forces = read(folder / "forces.dump", format="lammps-dump-text", index=0).get_forces()
    # The first record is the one of `run 0`.
    steps_seen, energies = np.array(records[1:])[:, :2].T
    return Trajectory(records[0][2], forces, steps_seen * TIME_STEP, energies, milliseconds_per_step(output))


def _run_lammps(folder: Path, on_step: Callable[[int], None]) -> tuple[list[tuple[float, ...]], str]:
    process = subprocess.Popen(
        [find_lammps(), "-in", "in.md"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    records: list[tuple[float, ...]] = []
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        words = line.split()
        if len(words) == 3 and re.fullmatch(r"\d+", words[0]) and re.match(r"-?\d", words[1]):
            records.append(tuple(map(float, words)))
            on_step(int(words[0]))
    if process.wait() != 0 or len(records) < 3:
        raise RuntimeError("LAMMPS failed:\n" + "".join(lines[-15:]))
    return records, "".join(lines)


def milliseconds_per_step(output: str) -> float:
    """Return the wall time per step of the last run in LAMMPS' output."""
    seconds, steps = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps", output)[-1]
    return 1000.0 * float(seconds) / int(steps)
