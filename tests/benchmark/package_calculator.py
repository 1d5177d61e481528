# SPDX-License-Identifier: LGPL-2.1-or-later
"""A package's own ASE calculator that runs molecular dynamics when it is asked, for potentials.py.

    python package_calculator.py FAMILY SOURCE [--device cpu] [--dtype float32] [--head H] [--modal M]

It runs with the Python of the family's environment, and needs the package, ASE, numpy and torch alone. What it is asked
comes as lines of JSON on standard input; each is answered by one on standard output, the first by nothing asked:
    {"numbers": .., "positions": .., "cell": .., "velocities": .., "timestep": fs}    new periodic atoms, velocities in
                                                                                      Å/ps, computed once
    {"steps": n}                                                                      n steps of velocity Verlet
The answers say the potential and the kinetic energy (eV), and how often the calculator has computed so far.
"""

import argparse
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration" / "families"))

from converted import Wanted
from tried_families import TRIED_FAMILIES


class Counted:
    """Counts what a calculator computes, which shows that no step was answered from an earlier one."""

    def __init__(self, calculator: Calculator) -> None:
        self.count = 0
        self._plain = calculator.calculate
        calculator.calculate = self._calculate

    def _calculate(self, *arguments: Any, **options: Any) -> None:
        self.count += 1
        self._plain(*arguments, **options)


def dtype_of(calculator: Calculator) -> str:
    """Return the type of a calculator's network, such as float32."""
    network = calculator.models[0] if hasattr(calculator, "models") else calculator.model
    found = sorted({str(each.dtype).removeprefix("torch.") for each in network.parameters()})
    return ", ".join(found)


def dynamics_of(asked: dict[str, Any], calculator: Calculator) -> VelocityVerlet:
    """Return the dynamics of new atoms."""
    atoms = Atoms(asked["numbers"], positions=asked["positions"], cell=asked["cell"], pbc=True)
    atoms.set_velocities(np.array(asked["velocities"]) / (1000 * units.fs))
    atoms.calc = calculator
    return VelocityVerlet(atoms, timestep=asked["timestep"] * units.fs)


def serve(calculator: Calculator, answers: TextIO) -> None:
    """Answer what standard input asks until it ends."""
    counted = Counted(calculator)
    dynamics: VelocityVerlet | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if dynamics is None or "numbers" in asked:
            dynamics = dynamics_of(asked, calculator)
        dynamics.run(asked.get("steps", 0))
        atoms = dynamics.atoms
        found = {"potential": float(atoms.get_potential_energy()), "kinetic": float(atoms.get_kinetic_energy())}
        print(json.dumps(found | {"computes": counted.count}), file=answers, flush=True)


def main() -> None:
    """Make the calculator, say what it is, and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=TRIED_FAMILIES)
    parser.add_argument("source")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--head")
    parser.add_argument("--modal")
    options = parser.parse_args()
    # Packages print to standard output: that goes to standard error, and the answers alone where it went.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    family = TRIED_FAMILIES[options.family]
    chosen = {name: getattr(options, name) for name in ("device", "head", "modal")}
    calculator = family.calculator(Wanted(options.source, options.dtype, **chosen))
    said = {
        "calculator": type(calculator).__name__,
        "package": f"{family.package} {importlib.metadata.version(family.package)}",
        "torch": torch.__version__,
        "dtype": dtype_of(calculator),
    }
    print(json.dumps(said), file=answers, flush=True)
    serve(calculator, answers)


if __name__ == "__main__":
    main()
