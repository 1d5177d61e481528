# SPDX-License-Identifier: LGPL-2.1-or-later
"""Grades of verification checks.

Letters follow OpenKIM's scale (kim-tools, `vc_letter_grade_machine_precision`): the score is log10(error / eps), where
eps is the machine precision 2.2e-16.
"""

import math
import sys

MACHINE_PRECISION = sys.float_info.epsilon
LETTER_LIMITS = {"A": 7.5, "B": 10.0, "C": 12.5, "D": 15.0}

PASSED = "P"
FAILED = "F"
NOT_APPLICABLE = "N/A"

# Relative error that a pass/fail check allows: far above rounding in float64, above most rounding in float32, and far
# below the error that a mistake of the model makes.
TOLERANCE = 1e-6


def score(error: float) -> float:
    """Return log10(error / eps), at least 0; an error that is not a number counts as infinite."""
    if not math.isfinite(error):
        return math.inf
    return max(0.0, math.log10(max(abs(error), MACHINE_PRECISION) / MACHINE_PRECISION))


def letter_grade(error: float) -> str:
    """Return A, B, C, D or F for a relative error."""
    found = score(error)
    return next((letter for letter, limit in LETTER_LIMITS.items() if found <= limit), FAILED)


def pass_grade(error: float, tolerance: float = TOLERANCE) -> str:
    """Return P if a relative error is a number within the tolerance, else F."""
    return PASSED if error <= tolerance else FAILED
