# SPDX-License-Identifier: LGPL-2.1-or-later
"""The published models on a structure, run by test_golden.py in a process of its own: python golden_session.py FILE.

It needs a process of its own, because torch_scatter can no longer be imported where the driver has replaced its
operators. It prints one JSON object: energy and forces by model, and the error of importing torch_scatter afterwards.
"""

import importlib
import json
import os
import sys
from pathlib import Path

from ase import Atoms
from ase.calculators.kim import KIM

MODELS = ("TorchMLModel1_SW", "TorchMLModel2_Desc", "TorchMLModel3_Graph")


def main() -> None:
    golden = json.loads(Path(sys.argv[1]).read_text())
    found = {}
    for name in MODELS:
        atoms = Atoms("Si64", positions=golden["positions"], cell=golden["cell"], pbc=True)
        atoms.calc = KIM(name)
        found[name] = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
    try:
        importlib.import_module("torch_scatter")
        found["torch_scatter"] = "imported"
    except ImportError as error:
        found["torch_scatter"] = str(error)
    print(json.dumps(found))
    # Given species codes, the graph model computes 0/0. The driver's error is on stderr.
    del os.environ["KIM_MODEL_ELEMENTS_MAP"]
    atoms.calc = KIM("TorchMLModel3_Graph")
    try:
        atoms.get_potential_energy()
    except Exception as error:
        print(type(error).__name__)


if __name__ == "__main__":
    main()
