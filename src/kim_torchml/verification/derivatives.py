# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numerical derivatives: Richardson extrapolation of central differences, with an estimate of what is left."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kim_torchml.verification.structures import Floats

# Steps are halved this often at most: a thousandth of the first.
LEVELS = 11


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
    function: Callable[[Floats], float],
    at: Floats,
    step: float,
    noise: float,
    done: Callable[[float], None] = lambda fraction: None,
) -> Derivative:
    """Return the derivative by each coordinate.

    Central differences with ever smaller steps are extrapolated to step zero, order by order; of all estimates that
    with the least estimated error is kept (Ridders, Adv. Eng. Software 4, 75 (1982)): one of a smooth function comes
    from the large steps, one of a spline from those that cross no knot.

    Args:
        function: Takes an array like `at`.
        at: Shape [n].
        step: The greatest step.
        noise: Standard deviation of the function's values about a smooth curve.
        done: Told the fraction that is done.
    """
    values, uncertainties = np.empty(len(at)), np.empty(len(at))
    for index in range(len(at)):
        direction = np.zeros(len(at))
        direction[index] = 1.0
        values[index], uncertainties[index] = _ridders(function, at, direction, step, noise)
        done((index + 1) / len(at))
    return Derivative(values, uncertainties)


def noise_of(function: Callable[[Floats], float], at: Floats, direction: Floats, step: float) -> float:
    """Return the standard deviation of a function's values about a smooth curve: rounding, in single precision too.

    From the third differences over 16 points along a direction (Moré & Wild, SIAM J. Sci. Comput. 33, 1292 (2011)).

    Args:
        function: Takes an array like `at`.
        at: Shape [n].
        direction: Shape [n].
        step: So small that the curve is a parabola over four of them, and larger than the rounding of `at`.
    """
    values = np.array([function(at + index * step * direction) for index in range(-8, 8)])
    least = float(np.finfo(float).eps * np.abs(values).max())
    # Of independent values of unit variance, the third difference has the variance 1 + 9 + 9 + 1.
    return max(least, float(np.sqrt((np.diff(values, 3) ** 2).mean() / 20.0)))


def central_difference(function: Callable[[Floats], float], at: Floats, direction: Floats, step: float) -> float:
    """Return the difference quotient along a direction."""
    return (function(at + step * direction) - function(at - step * direction)) / (2.0 * step)


def _ridders(
    function: Callable[[Floats], float], at: Floats, direction: Floats, step: float, noise: float
) -> tuple[float, float]:
    """Return the derivative along a direction, and its estimated error."""
    best, least = np.nan, np.inf
    previous: list[float] = []
    for level in range(LEVELS):
        width = step / 2**level
        # Two estimates may agree by chance better than the noise lets them.
        rounding = noise / width
        if rounding > least:
            break
        row = [central_difference(function, at, direction, width)]
        for order, coarser in enumerate(previous):
            factor = 4.0 ** (order + 1)
            row.append((factor * row[order] - coarser) / (factor - 1.0))
            error = max(abs(row[-1] - row[-2]), abs(row[-1] - coarser), rounding)
            if error <= least:
                best, least = row[-1], error
        previous = row
    return best, least
