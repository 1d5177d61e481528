# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verification checks, one file each, in the order of the catalogue, which has their names and descriptions."""

from kim_torchml.tools.verification.checks import (
    dimer_continuity_c1,
    forces_numerical_derivative,
    inversion_symmetry,
    memory_leak,
    objectivity,
    periodicity_support,
    permutation_symmetry,
    species_supported_as_stated,
    thread_safe,
    unit_conversion,
)
from kim_torchml.tools.verification.checks.base import Check

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        species_supported_as_stated.CHECK,
        periodicity_support.CHECK,
        permutation_symmetry.CHECK,
        forces_numerical_derivative.CHECK,
        dimer_continuity_c1.CHECK,
        objectivity.CHECK,
        inversion_symmetry.CHECK,
        memory_leak.CHECK,
        thread_safe.CHECK,
        unit_conversion.CHECK,
    )
}
