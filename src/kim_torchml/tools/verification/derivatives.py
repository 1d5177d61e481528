# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numerical derivatives: Richardson extrapolation of central differences, with an estimate of the error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kim_torchml.tools.kim_host.structure import Floats

# The last step is a thousandth of the first.
LEVELS = 11


@dataclass(frozen=True)
class Derivative:
    """A numerical gradient.

    Attributes:
        values: derivatives, shape [n].
        uncertainties: errors of the derivatives as the extrapolation estimates them, shape [n].
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

    Central differences with ever smaller steps are extrapolated to step zero, order by order. The estimate with the
    least estimated error is kept, provided that no difference with a smaller step contradicts it. So the derivative of
    a smooth function comes from large steps, that of a spline from steps that cross none of its knots.

    Args:
        function: function of an array like `at`.
        at: point at which to differentiate, shape [n].
        step: the greatest step.
        noise: standard deviation of the function's values about a smooth curve.
        done: function that takes the fraction that is done.
    Source:
        Ridders, Adv. Eng. Software 4, 75 (1982).
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

    It is estimated from the third differences of 16 points along a direction.

    Args:
        function: function of an array like `at`.
        at: point in the middle, shape [n].
        direction: direction, shape [n].
        step: distance of the points, so small that the curve is a parabola over four steps, and larger than the
            rounding of `at`.
    Source:
        Moré & Wild, SIAM J. Sci. Comput. 33, 1292 (2011).
    """
    values = np.array([function(at + index * step * direction) for index in range(-8, 8)])
    least = float(np.finfo(float).eps * np.abs(values).max())
    # The third difference of independent values of unit variance has the variance 1 + 9 + 9 + 1.
    return max(least, float(np.sqrt((np.diff(values, 3) ** 2).mean() / 20.0)))


def random_direction(at: Floats, random: np.random.Generator) -> Floats:
    """Return a unit vector like `at`."""
    direction = random.normal(size=at.size)
    return np.asarray(direction / np.linalg.norm(direction))


def central_difference(function: Callable[[Floats], float], at: Floats, direction: Floats, step: float) -> float:
    """Return the difference quotient along a direction."""
    return (function(at + step * direction) - function(at - step * direction)) / (2.0 * step)


def _ridders(
    function: Callable[[Floats], float], at: Floats, direction: Floats, step: float, noise: float
) -> tuple[float, float]:
    """Return the derivative along a direction, and its estimated error."""
    widths = step / 2.0 ** np.arange(LEVELS)
    plain = np.array([central_difference(function, at, direction, float(width)) for width in widths])
    rounding = noise / widths
    # A plain difference may be wrong by its difference from the next one, and by the rounding of its two values.
    changes = np.abs(np.diff(plain))
    margins = 2.0 * np.append(changes, changes[-1]) + 5.0 * rounding
    best, least = float(plain[-1]), float("inf")
    row: list[float] = []
    for level in range(LEVELS):
        previous, row = row, [float(plain[level])]
        for order, coarser in enumerate(previous):
            factor = 4.0 ** (order + 1)
            row.append((factor * row[order] - coarser) / (factor - 1.0))
            # Two estimates may agree by chance, so the error is no less than the noise.
            error = max(abs(row[-1] - row[-2]), abs(row[-1] - coarser), float(rounding[level]))
            # They may also agree because both cross the same knot of a spline; then the finer differences disagree.
            agrees = bool((np.abs(plain[level:] - row[-1]) <= margins[level:]).all())
            if error <= least and agrees:
                best, least = row[-1], error
    if np.isinf(least):
        finest = int((changes + rounding[1:]).argmin()) + 1
        return float(plain[finest]), float(margins[finest])
    return best, least
