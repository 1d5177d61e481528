# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names and descriptions of the checks, in the order of the reports. This module needs neither ase nor kimpy."""

from dataclasses import dataclass

GRADED = "A-F"
PASS_FAIL = "P/F"


@dataclass(frozen=True)
class Entry:
    """A check, as users see it.

    Attributes:
        name: OpenKIM's name without the prefix vc-.
        description: one sentence that says what the check does.
        grading: GRADED or PASS_FAIL.
    """

    name: str
    description: str
    grading: str = PASS_FAIL


_ENTRIES = (
    Entry(
        "species-supported-as-stated",
        "Every species that the model claims to support appears in a cluster of atoms that it can compute.",
    ),
    Entry(
        "periodicity-support",
        "A box doubled along a periodic direction has twice the energy and the same forces.",
    ),
    Entry(
        "permutation-symmetry",
        "Swapping atoms of the same species changes neither energy nor forces.",
    ),
    Entry(
        "forces-numerical-derivative",
        "Forces equal minus the numerical derivative of the energy, component by component.",
        GRADED,
    ),
    Entry(
        "dimer-continuity-c1",
        "The energy of a dimer and its first derivative are continuous, across the cutoff too.",
    ),
    Entry(
        "objectivity",
        "Turning and moving all atoms together leaves the energy and turns the forces.",
    ),
    Entry(
        "inversion-symmetry",
        "Inverting all positions through a point leaves the energy and reverses the forces.",
    ),
    Entry(
        "memory-leak",
        "Memory does not grow over create, compute and destroy (OpenKIM's check uses valgrind instead).",
    ),
    Entry(
        "thread-safe",
        "Threads that compute at the same time get exactly what a single thread gets.",
    ),
    Entry(
        "unit-conversion",
        "The model, created in other units, gives the same energies, forces and virials.",
    ),
)
CATALOGUE = {entry.name: entry for entry in _ENTRIES}
