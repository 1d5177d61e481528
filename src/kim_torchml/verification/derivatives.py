# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numerical derivatives: Richardson extrapolation of central differences, with an estimate of what is left."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kim_torchml.verification.structures import Floats

LEVELS = 6


@dataclass(frozen=True)
class Derivative:
    """A numerical gradient.

    Attributes:
        values: Shape [n].
        uncertainties: What the extrapolation estimates its error to be; shape [n].
    """

    values: Floats
    uncertainties: Floats


def gradient(
    function: Callable[[Floats], float], at: Floats, step: float, done: Callable[[float], None] = lambda fraction: None
) -> Derivative:
    """Return the derivative by each coordinate.

    Central differences with steps halved LEVELS - 1 times are extrapolated to step zero, order by order; of all
    estimates that with the least estimated error is kept (Ridders, Adv. Eng. Software 4, 75 (1982)).

    Args:
        function: Takes an array like `at`.
        at: Shape [n].
        step: The greatest step.
        done: Told the fraction that is done.
    """
    values, uncertainties = np.empty(len(at)), np.empty(len(at))
    for index in range(len(at)):
        direction = np.zeros(len(at))
        direction[index] = 1.0
        values[index], uncertainties[index] = _ridders(function, at, direction, step)
        done((index + 1) / len(at))
    return Derivative(values, uncertainties)


def central_difference(function: Callable[[Floats], float], at: Floats, direction: Floats, step: float) -> float:
    """Return the difference quotient along a direction."""
    return (function(at + step * direction) - function(at - step * direction)) / (2.0 * step)


def _ridders(function: Callable[[Floats], float], at: Floats, direction: Floats, step: float) -> tuple[float, float]:
    """Return the derivative along a direction, and its estimated error."""
    best, least = np.nan, np.inf
    previous: list[float] = []
    for level in range(LEVELS):
        width = step / 2**level
        ahead, behind = function(at + width * direction), function(at - width * direction)
        # Two estimates may agree by chance better than their rounding lets them.
        rounding = float(np.finfo(float).eps) * max(abs(ahead), abs(behind)) / width
        row = [(ahead - behind) / (2.0 * width)]
        for order, coarser in enumerate(previous):
            factor = 4.0 ** (order + 1)
            row.append((factor * row[order] - coarser) / (factor - 1.0))
            error = max(abs(row[-1] - row[-2]), abs(row[-1] - coarser), rounding)
            if error <= least:
                best, least = row[-1], error
        previous = row
    return best, least
