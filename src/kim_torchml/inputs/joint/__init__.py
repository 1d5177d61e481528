# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of several ranks that compute one system together.

Each rank has rows for its own contributing particles, and after them one for each particle of another rank that its own
have edges to: however many of its images there are, and however many layers the network has. Owners are inferred and
proven for all ranks together, as one list of particles is folded; after that each rank looks after its own images.
"""

from kim_torchml.inputs.joint.folding import JointFolding
from kim_torchml.inputs.joint.ranks import Ranks
from kim_torchml.inputs.joint.rows import JointRows

__all__ = ["JointFolding", "JointRows", "Ranks"]
