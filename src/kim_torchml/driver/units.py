# SPDX-License-Identifier: LGPL-2.1-or-later
"""The simulator's units. Models work in Å and eV; KIM's own conversion factors come from the shim."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Units:
    """How many of the simulator's units make one of the model's.

    Attributes:
        energy: one eV in the simulator's unit of energy.
        force: one eV/Å in the simulator's unit of energy per unit of length.
    """

    energy: float = 1.0
    force: float = 1.0
