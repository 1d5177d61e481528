# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jumps of a curve and of its derivative: looked for on a grid, then narrowed down.

A jump between two points of a grid shows in differences of a higher order, where a smooth curve leaves next to nothing.
So the intervals with differences large beside those around them are divided again and again, and what remains of the
step between the ends of the last, tiny interval, beyond what the slope explains, is the jump. A smooth curve leaves
nothing there but rounding, whose size is measured on the intervals next to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kim_torchml.verification.structures import Floats

# Points within each interval that is divided, with some on both sides for the differences.
PARTS = 8
AROUND = 4
# Intervals to look at by each order of differences: the sixth sees small jumps on a steep wall, the third those of
# tabulated curves, which have little beyond.
CANDIDATES = 3
ORDERS = (3, 6)
# Wider than the steps in which a float32 model sees a distance.
NARROWEST = 2e-5


@dataclass(frozen=True)
class Jump:
    """What is left in one narrow interval.

    Attributes:
        at: The middle of the interval, Å.
        size: The step that the slope does not explain.
        noise: The same in the intervals around it.
        level: Magnitude of the curve there.
    """

    at: float
    size: float
    noise: float
    level: float


def find_jumps(
    curve: Callable[[Floats], Floats], grid: Floats, values: Floats, suspects: Sequence[float] = ()
) -> list[Jump]:
    """Return what is left at the most suspicious places of a curve, the most suspicious first.

    Args:
        curve: Values at distances (Å).
        grid: Evenly spaced distances, at least 20.
        values: The curve there.
        suspects: Places to look at in any case.
    """
    inside = [place for place in suspects if grid[2] < place < grid[-3]]
    indices = [int(np.searchsorted(grid, place)) - 1 for place in inside]
    for order in ORDERS:
        indices += [index for index in _suspicious(values, order) if index not in indices]
    return [_narrow(curve, float(grid[index]), float(grid[index + 1])) for index in indices]


def _suspicious(values: Floats, order: int) -> list[int]:
    """Return the intervals (by their left ends) with differences large beside those around them."""
    differences = np.abs(np.diff(values, order))
    window = 12
    padded = np.pad(differences, window, mode="reflect")
    around = np.array([np.median(padded[i : i + 2 * window + 1]) for i in range(len(differences))])
    floor = 2.0**order * np.finfo(float).eps * max(float(np.abs(values).max()), np.finfo(float).tiny)
    ratio = differences / (around + floor)
    found: list[int] = []
    # Of the points of difference i, interval i + (order - 1) / 2 is the middle. One jump shows in `order` of them.
    for index in np.argsort(-ratio):
        middle = int(index) + (order - 1) // 2
        if all(abs(middle - other) > order for other in found):
            found.append(middle)
        if len(found) == CANDIDATES:
            break
    return found


def _narrow(curve: Callable[[Floats], Floats], left: float, right: float) -> Jump:
    """Divide an interval, following the greatest third difference, until it is narrow."""
    while True:
        width = (right - left) / PARTS
        points = left + width * np.arange(-AROUND, PARTS + AROUND + 1, dtype=np.float64)
        values = curve(points)
        third = np.abs(np.diff(values, 3))
        # Of the intervals inside: the middle interval of third difference i is i + 1.
        inside = slice(AROUND - 1, AROUND + PARTS - 1)
        middle = int(third[inside].argmax()) + AROUND
        left, right = float(points[middle]), float(points[middle + 1])
        if width <= NARROWEST:
            return _leftover(points, values, middle)


def _leftover(points: Floats, values: Floats, middle: int) -> Jump:
    """Return the step over the middle interval less the mean of those next to it, and the noise of that measure."""
    steps = np.diff(values)
    leftover = np.abs(steps[1:-1] - 0.5 * (steps[:-2] + steps[2:]))
    here = middle - 1
    others = [value for index, value in enumerate(leftover) if abs(index - here) > 2]
    at = 0.5 * float(points[middle] + points[middle + 1])
    return Jump(at, float(leftover[here]), float(np.median(others)), float(np.abs(values).max()))
