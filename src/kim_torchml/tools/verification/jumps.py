# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jumps and kinks of a curve: looked for on a grid, then narrowed down.

They show in differences of a higher order, where a smooth curve leaves next to nothing. So the intervals with
differences large beside those around them are divided again and again. What remains of the step between the ends of the
last, tiny interval, beyond what the slope explains, is the jump; what remains of the change of slope across it, beyond
what the curvature explains, is the kink. A smooth curve leaves nothing there but rounding, whose size is measured on
the intervals next to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kim_torchml.tools.kim_host.structure import Floats

# Points within each interval that is divided, with some on both sides for the differences.
PARTS = 8
AROUND = 6
# Intervals to look at by each order of differences: the sixth sees small jumps on a steep wall, the third those of
# tabulated curves, which have little beyond.
CANDIDATES = 3
ORDERS = (3, 6)
# Wider than the steps in which a float32 model sees a distance.
NARROW = 2e-5
# What a jump of the next derivative leaves falls with the width of the interval; it is followed down to this width.
NARROWEST = 1e-11
# A jump stays if, two divisions on, this part of it is left.
STAYS = 0.9
# It counts only if it is this much above those around it.
ABOVE_NOISE = 30.0


@dataclass(frozen=True)
class Jump:
    """What is left in one narrow interval, of a curve or of its slope.

    Attributes:
        at: The middle of the interval, Å.
        size: The step that the slope does not explain; of a slope, that the curvature does not.
        noise: The same in the intervals around it.
        level: Magnitude of the curve, or of its slope, there.
    """

    at: float
    size: float
    noise: float
    level: float


def find_jumps(
    curve: Callable[[Floats], Floats], grid: Floats, values: Floats, suspects: Sequence[float] = ()
) -> list[tuple[Jump, Jump]]:
    """Return what is left of a curve, and of its slope, at the curve's most suspicious places.

    Args:
        curve: Values at distances (Å).
        grid: Evenly spaced distances, at least 20.
        values: The curve there.
        suspects: Places to look at in any case.
    """
    places = [(place - NARROW, place + NARROW) for place in suspects if grid[2] < place < grid[-3]]
    found = []
    for order in ORDERS:
        intervals = [(float(grid[index]), float(grid[index + 1])) for index in _suspicious(values, order)]
        found += [_narrow(curve, left, right, order) for left, right in places + intervals]
    return found


def _roughness(values: Floats, order: int) -> Floats:
    """Return, of intervals order - 1 and on, the sum of the magnitudes of the differences that its ends are both in.

    A jump in an interval, or a kink, shows in all of them, in any one of which it may be least.
    """
    return np.asarray(np.convolve(np.abs(np.diff(values, order)), np.ones(order), "valid"), dtype=np.float64)


def _suspicious(values: Floats, order: int) -> list[int]:
    """Return the intervals (by their left ends) with differences large beside those around them."""
    roughness = _roughness(values, order)
    window = 12
    padded = np.pad(roughness, window, mode="reflect")
    around = np.array([np.median(padded[i : i + 2 * window + 1]) for i in range(len(roughness))])
    floor = order * 2.0**order * np.finfo(float).eps * max(float(np.abs(values).max()), np.finfo(float).tiny)
    found: list[int] = []
    for index in np.argsort(-roughness / (around + floor)):
        # All about a jump stand out; its own is the highest.
        first = max(0, int(index) - order)
        interval = first + int(roughness[first : int(index) + order + 1].argmax()) + order - 1
        if all(abs(interval - other) > order for other in found):
            found.append(interval)
        if len(found) == CANDIDATES:
            break
    return found


def _narrow(curve: Callable[[Floats], Floats], left: float, right: float, order: int) -> tuple[Jump, Jump]:
    """Divide an interval, following the greatest differences, until it is known what is left of curve and slope."""
    of_curve: list[Jump] = []
    of_slope: list[Jump] = []
    while True:
        width = (right - left) / PARTS
        points = left + width * np.arange(-AROUND, PARTS + AROUND + 1, dtype=np.float64)
        values = curve(points)
        # Of the intervals inside.
        first = AROUND - order + 1
        middle = int(_roughness(values, order)[first : first + PARTS].argmax()) + AROUND
        left, right = float(points[middle]), float(points[middle + 1])
        if width > NARROW:
            continue
        of_curve.append(_leftover(points, values, middle))
        of_slope.append(_leftover_of_slope(points, values, middle))
        if width <= NARROWEST or (_is_settled(of_curve) and _is_settled(of_slope)):
            return _limit(of_curve), _limit(of_slope)


def _is_settled(jumps: list[Jump]) -> bool:
    """Return whether narrower intervals would tell nothing new: there is no jump, or it stays, or noise hides it."""
    first, last = jumps[0], jumps[-1]
    if not stands_out(first) or last.noise * ABOVE_NOISE > first.size:
        return True
    return len(jumps) > 2 and last.size > STAYS * first.size


def _limit(jumps: list[Jump]) -> Jump:
    """Return the least of what was left in ever narrower intervals, as far as noise lets it be seen.

    What jumps does so in all of them. What falls with their width is a jump of the next derivative, or a curve like
    x ln x.
    """
    first = jumps[0]
    least = min([first, *(jump for jump in jumps if jump.noise * ABOVE_NOISE < first.size)], key=lambda jump: jump.size)
    # What stays is known best from the widest interval.
    return first if least.size > 0.5 * first.size else least


def stands_out(jump: Jump) -> bool:
    """Return whether a jump is above the noise."""
    return jump.size > ABOVE_NOISE * jump.noise


def _leftover(points: Floats, values: Floats, middle: int) -> Jump:
    """Return the step over the middle interval less the mean of those next to it, and the noise of that measure."""
    steps = np.diff(values)
    leftover = np.abs(steps[1:-1] - 0.5 * (steps[:-2] + steps[2:]))
    return _jump(points, leftover, middle - 1, middle, float(np.abs(values).max()))


def _leftover_of_slope(points: Floats, values: Floats, middle: int) -> Jump:
    """Return the change of slope across the middle interval, less the mean of those on its two sides, and its noise."""
    width = float(points[1] - points[0])
    slopes = np.diff(values) / width
    # A kink inside an interval shares itself out between the changes of slope at its ends.
    changes = slopes[2:] - slopes[:-2]
    leftover = np.abs(changes[2:-2] - 0.5 * (changes[:-4] + changes[4:]))
    return _jump(points, leftover, middle - 3, middle, float(np.abs(slopes).max()))


def _jump(points: Floats, leftover: Floats, here: int, middle: int, level: float) -> Jump:
    """Return what is left at one index, and around it as noise."""
    # Of the noisier side: beyond a cutoff there is none.
    sides = [side for side in (leftover[: max(0, here - 2)], leftover[here + 3 :]) if len(side) > 2]
    noise = max(float(np.median(side)) for side in sides)
    at = 0.5 * float(points[middle] + points[middle + 1])
    return Jump(at, float(leftover[here]), noise, level)
