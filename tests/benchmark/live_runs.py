# SPDX-License-Identifier: LGPL-2.1-or-later
"""Molecular dynamics that stays alive and goes on for some steps when it is asked, in LAMMPS and with a calculator.

Several of them can so compute in turns of a second, and each turn is measured in the same way, from outside: the CPU
time of the whole process, and wall time.
"""

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ase import Atoms, units
from ase.io.lammpsdata import write_lammps_data

HERE = Path(__file__).resolve().parent
ANSWER = "answer:"

_SET_UP = """\
units metal
atom_style atomic
boundary p p p
kim init {model} metal
read_data {name}.data
kim interactions {species}
neigh_modify every {every} delay 0 check no
timestep {timestep}
thermo_style custom step pe ke
thermo 0
"""


@dataclass(frozen=True)
class State:
    """Potential and kinetic energy, eV."""

    potential: float
    kinetic: float

    @property
    def total(self) -> float:
        """Sum of both, eV."""
        return self.potential + self.kinetic

    def temperature(self, n_atoms: int) -> float:
        """Return the temperature of atoms whose centre of mass rests, K."""
        return 2 * self.kinetic / (3 * (n_atoms - 1) * units.kB)


@dataclass(frozen=True)
class Turn:
    """What one step of a turn takes: CPU and wall time, ms."""

    cpu: float
    wall: float


class LiveRun:
    """A process that is asked line by line.

    Attributes:
        name: what it is, for messages and files.
    """

    def __init__(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._stderr = folder / f"{name}.stderr"
        self._latest: deque[str] = deque(maxlen=20)
        with self._stderr.open("w") as stderr:
            self._process = subprocess.Popen(
                [*map(str, command)],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def __enter__(self) -> "LiveRun":
        return self

    def __exit__(self, *_: object) -> None:
        """Let the process end by itself, as its input does; else end it."""
        # What it was not told any more is lost where it has ended.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, steps: int) -> None:
        """Ask for some steps, which begin at once."""
        raise NotImplementedError

    def answer(self) -> State:
        """Return the state that what was asked last has led to, once it is there."""
        raise NotImplementedError

    def turn(self, steps: int) -> tuple[Turn, State]:
        """Run some steps; return what one of them took, and the state after them."""
        cpu, wall = self._cpu_seconds(), time.perf_counter()
        self.ask(steps)
        state = self.answer()
        cpu, wall = self._cpu_seconds() - cpu, time.perf_counter() - wall
        return Turn(1000 * cpu / steps, 1000 * wall / steps), state

    def peak_mb(self) -> float:
        """Return the peak memory of the process so far, MB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def stderr(self) -> str:
        """Return what the process has written to standard error."""
        return self._stderr.read_text()

    def _cpu_seconds(self) -> float:
        # The clock of another process, as clock_getcpuclockid(3) names it: all of its threads, to the nanosecond.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def _say(self, text: str) -> None:
        try:
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def _line(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        self._latest.append(line)
        return line

    def _fail(self) -> NoReturn:
        self._latest.extend(self._process.stdout)
        self._process.wait()
        last = "".join(self._latest) + self.stderr()[-2000:]
        sys.exit(f"{self.name} ended with exit code {self._process.returncode}, and should have gone on:\n{last}")


class LammpsRun(LiveRun):
    """NVE dynamics in LAMMPS with a KIM model, whose neighbour lists are made anew in every `every`-th step."""

    def __init__(
        self,
        name: str,
        model: str,
        atoms: Atoms,
        timestep: float,
        environment: Mapping[str, str],
        folder: Path,
        every: int = 10,
    ) -> None:
        """Start LAMMPS.

        Args:
            name: what it is.
            model: KIM id of the model.
            atoms: structure in an orthogonal periodic cell, with velocities.
            timestep: time step, fs.
            environment: environment variables.
            folder: where it works.
            every: steps from one neighbour list to the next.
        """
        # LAMMPS would keep the answers in a buffer.
        super().__init__(name, ["stdbuf", "-oL", "lmp", "-nocite", "-log", "none"], environment, folder)
        self._folder = folder
        species = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
        write_lammps_data(
            folder / f"{name}.data", atoms, specorder=list(species), masses=True, velocities=True, units="metal"
        )
        picoseconds = timestep / 1000
        self._say(_SET_UP.format(model=model, name=name, species=" ".join(species), every=every, timestep=picoseconds))

    def start(self) -> State:
        """Begin the dynamics; return the state of the beginning."""
        return self.do("fix dynamics all nve\nrun 0")

    def do(self, commands: str) -> State:
        """Do commands; return the state after the latest run, which may be one of them."""
        self._say(commands)
        self._ask_for_state()
        return self.answer()

    def ask(self, steps: int) -> None:
        self._say(f"run {steps} pre no post no")
        self._ask_for_state()

    def answer(self) -> State:
        while not (line := self._line()).startswith(ANSWER):
            pass
        potential, kinetic = map(float, line.removeprefix(ANSWER).split())
        return State(potential, kinetic)

    def atoms(self, of: Atoms) -> Atoms:
        """Return atoms with the positions and velocities of now."""
        path = self._folder / f"{self.name}.dump"
        self.do(f"write_dump all custom {path.name} id x y z vx vy vz modify sort id format float %.17g")
        rows = [list(map(float, line.split()[1:])) for line in path.read_text().splitlines()[9:]]
        found = of.copy()
        found.set_positions([row[:3] for row in rows])
        found.set_velocities([[each / (1000 * units.fs) for each in row[3:]] for row in rows])
        return found

    def _ask_for_state(self) -> None:
        self._say(f'print "{ANSWER} $(pe:%.17g) $(ke:%.17g)"')


class CalculatorRun(LiveRun):
    """NVE dynamics in ASE with a package's own calculator, in a Python of its own.

    Attributes:
        facts: names and versions of the calculator, its package and torch, and the type of its network.
    """

    def __init__(
        self, name: str, python: Path, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Start it, and wait until the calculator is made.

        Args:
            name: what it is.
            python: the Python of the environment of the package.
            arguments: of package_calculator.py.
            environment: environment variables.
            folder: where it works.
        """
        # Sources of this project that stand in for an installed package are none of the family's.
        own = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
        super().__init__(name, [python, HERE / "package_calculator.py", *arguments], own, folder)
        self._computes = 0
        self.facts: dict[str, str] = json.loads(self._line())

    def start(self, atoms: Atoms, timestep: float) -> State:
        """Begin the dynamics of atoms, with a time step in fs; return the state of the beginning."""
        what: dict[str, Any] = {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
        what |= {"cell": atoms.cell.tolist(), "velocities": (atoms.get_velocities() * 1000 * units.fs).tolist()}
        self._say(json.dumps(what | {"timestep": timestep}))
        self._computes += 1
        return self.answer()

    def ask(self, steps: int) -> None:
        self._say(json.dumps({"steps": steps}))
        self._computes += steps

    def answer(self) -> State:
        found = json.loads(self._line())
        if found["computes"] != self._computes:
            sys.exit(f"{self.name} should have computed {self._computes} times, and did {found['computes']} times")
        return State(found["potential"], found["kinetic"])
