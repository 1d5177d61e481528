# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example models, KIM's own Stillinger-Weber model, and a silicon crystal for all of them."""

import kimpy
import numpy as np
from ase import Atoms
from ase.build import bulk

STILLINGER_WEBER = "TorchML_StillingerWeber_Si"
DESCRIPTOR = "TorchML_Descriptor_Si"
GRAPH = "TorchML_Graph_Si"
EDGES = "TorchML_Edges_Si"
# The folder in examples/ of each KIM id.
EXAMPLES = {STILLINGER_WEBER: "stillinger_weber", DESCRIPTOR: "descriptor", GRAPH: "graph", EDGES: "edges"}

REFERENCE = "SW_StillingerWeber_1985_Si__MO_"


def find_reference() -> str | None:
    """Return the id of KIM's own model; None where it is not installed."""
    portable = kimpy.collection_item_type.portableModel
    collections = kimpy.collections.create()
    count = collections.cache_list_of_item_names_by_type(portable)
    names = [collections.get_item_name_by_type(index) for index in range(count)]
    return max((name for name in names if name.startswith(REFERENCE)), default=None)


def silicon() -> Atoms:
    """Return a rattled crystal of 64 atoms in a strained and skewed cell."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)
    atoms.rattle(0.2, seed=7)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0, 0], [0.04, 1.02, 0], [0.01, -0.03, 0.99]]), scale_atoms=True)
    return atoms
