# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folding: which contributing particle each image is an image of, inferred from what KIM gives, and proven.

KIM tells neither the cell nor owners: periodic images are particles like all others. With their owners known, a network
computes one row for each contributing particle, whatever its number of layers. Needs numpy alone.
"""

from kim_torchml.inputs.folding.errors import FoldingRefusedError
from kim_torchml.inputs.folding.folding import Folding
from kim_torchml.inputs.folding.inference import infer
from kim_torchml.inputs.folding.proof import prove
from kim_torchml.inputs.folding.rows import ParticleList, Rows

__all__ = ["Folding", "FoldingRefusedError", "ParticleList", "Rows", "infer", "prove"]
