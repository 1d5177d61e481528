# SPDX-License-Identifier: LGPL-2.1-or-later
"""Energy and forces go with the atoms when all of them are moved and turned together."""

from collections.abc import Sequence

import numpy as np

from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.comparison import compare_compositions, difference
from kim_torchml.tools.verification.crystals import crystal
from kim_torchml.tools.verification.model_under_test import EnergyAndForces, ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Turn a rattled piece of bcc crystal about a random axis, move it, and turn the forces back."""
    random = under_test.random("objectivity")

    def error_of(species: Sequence[str]) -> float:
        nearest = under_test.nearest("bcc", species)
        piece = crystal("bcc", (2, 2, 2), nearest, species, random)
        turn = rotation(random)
        shift = random.normal(size=3) * nearest
        before = under_test.reference(piece)
        after = under_test.evaluate(piece.moved(piece.positions @ turn.T + shift))
        back = EnergyAndForces(after.energy, None if after.forces is None else after.forces @ turn)
        return difference(back, before, nearest)

    return compare_compositions(
        under_test,
        error_of,
        "Energy and forces follow a rotation and a translation of all atoms",
        "Energy or forces depend on where the atoms are or how they are turned: right only with an external field",
    )


def rotation(random: np.random.Generator) -> Floats:
    """Return a rotation matrix [3, 3], uniformly distributed (QR of Gaussian numbers)."""
    orthogonal, triangular = np.linalg.qr(random.normal(size=(3, 3)))
    orthogonal = orthogonal * np.sign(np.diag(triangular))
    if np.linalg.det(orthogonal) < 0.0:
        orthogonal[:, 0] *= -1.0
    return np.asarray(orthogonal, dtype=np.float64)


CHECK = Check("objectivity", run)
