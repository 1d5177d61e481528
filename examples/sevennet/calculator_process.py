# SPDX-License-Identifier: LGPL-2.1-or-later
"""A calculator of ASE in a process of its own, which computes what it is asked on standard input.

Usage: python calculator_process.py kim|sevennet NAME

A request is a line of JSON, and so is its answer; see `answer`. It needs ASE and what the calculator itself needs.
"""

import json
import os
import sys
import time
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet


def make_calculator(kind: str, name: str) -> Calculator:
    """Return KIM's calculator for a model, or that of SevenNet's package for published weights."""
    if kind == "kim":
        from ase.calculators.kim import KIM

        return KIM(name)
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(name, device="cpu")


def answer(request: dict[str, Any], calculator: Calculator) -> dict[str, Any]:
    """Compute a structure, and then time molecular dynamics (NVE) that starts from it with atoms at rest.

    Args:
        request: `symbols`, `positions` (Å), `cell` (Å) of a periodic structure, `steps` to time, `time_step` (fs).
        calculator: The calculator.
    Returns:
        `energy` (eV), `forces` (eV/Å), `stress` (eV/Å³, Voigt order), and `milliseconds` per step if steps are asked.
    """
    atoms = Atoms(request["symbols"], positions=request["positions"], cell=request["cell"], pbc=True)
    atoms.calc = calculator
    found = {
        "energy": float(atoms.get_potential_energy()),
        "forces": np.asarray(atoms.get_forces(), dtype=float).tolist(),
        "stress": np.asarray(atoms.get_stress(), dtype=float).tolist(),
    }
    if steps := request["steps"]:
        dynamics = VelocityVerlet(atoms, timestep=request["time_step"] * units.fs)
        begin = time.perf_counter()
        dynamics.run(steps)
        found["milliseconds"] = 1000.0 * (time.perf_counter() - begin) / steps
    return found


def main() -> None:
    """Answer requests until there are no more."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    calculator = make_calculator(*sys.argv[1:])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), calculator)), file=answers, flush=True)


if __name__ == "__main__":
    main()
