# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calculators in processes of their own, each in its own Python environment and with one thread."""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms
from results import Result

_PROGRAM = Path(__file__).with_name("calculator_process.py")
TIME_STEP = 0.5  # fs


class CalculatorProcess:
    """A calculator that computes in another process; see calculator_process.py."""

    def __init__(self, python: Path, kind: str, name: str, log: Path) -> None:
        """Start it.

        Args:
            python: Python of the environment that has what the calculator needs.
            kind: `kim` or `sevennet`.
            name: Model of KIM, or name of published weights.
            log: File for all that the process prints.
        """
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [str(python), "-I", str(_PROGRAM), kind, name],
                env=one_thread(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
            )

    def __enter__(self) -> "CalculatorProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def compute(self, atoms: Atoms) -> Result:
        """Return energy, forces and stress of a periodic structure."""
        found = self._ask(atoms, 0)
        return Result(found["energy"], np.array(found["forces"]), np.array(found["stress"]))

    def time(self, atoms: Atoms, steps: int) -> float:
        """Return the wall time of a step of molecular dynamics from a structure on, ms."""
        return float(self._ask(atoms, steps)["milliseconds"])

    def _ask(self, atoms: Atoms, steps: int) -> dict[str, Any]:
        request = {
            "symbols": atoms.get_chemical_symbols(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "steps": steps,
            "time_step": TIME_STEP,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            last = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise RuntimeError(f"the calculator has ended; the end of {self._log}:\n" + "\n".join(last))
        return json.loads(answer)


def on_cpu() -> dict[str, str]:
    """Return this process's environment variables, but with the CPU as the device that models run on."""
    return os.environ | {"KIM_MODEL_EXECUTION_DEVICE": "cpu"}


def one_thread() -> dict[str, str]:
    """Return likewise environment variables for one thread, so that times can be compared."""
    return on_cpu() | {"OMP_NUM_THREADS": "1"}
