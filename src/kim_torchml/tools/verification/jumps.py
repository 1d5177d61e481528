# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jumps and kinks of a curve, which are searched for on a grid and then narrowed down.

Differences of a higher order show them, because those of a smooth curve almost vanish. So intervals whose differences
are large compared with those around are divided again and again. In the last, tiny interval, the jump is the step that
the slope does not explain, and the kink is the change of slope that the curvature does not explain. For a smooth curve
both are rounding alone, whose size is measured in the intervals next to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kim_torchml.tools.kim_host.structure import Floats

# Parts that an interval is divided into, and further parts on both sides, which the differences need.
PARTS = 8
AROUND = 6
# Number of intervals to look at for each order of differences. The sixth order shows small jumps on a steep wall, the
# third those of tabulated curves, whose higher derivatives mean little.
CANDIDATES = 3
ORDERS = (3, 6)
# Å. Wider than the steps between two distances that a float32 model can tell apart.
NARROW = 2e-5
# Å. A jump of the next derivative leaves a step that shrinks with the interval, which is followed down to this width.
NARROWEST = 1e-11
# Intervals on both sides in which noise is looked for where something stands out, and the part of them that it is above
# or equal to. The values of a model in single precision may be the same in most of fewer intervals, which then seem to
# have no noise.
FARTHER = 48
NOISY = 0.9
# A jump stays if this part of it is left after two more divisions.
STAYS = 0.9
# A jump counts only if it is larger by this factor than the leftovers of the intervals around.
ABOVE_NOISE = 30.0


@dataclass(frozen=True)
class Jump:
    """The step of a curve, or of its slope, over one narrow interval that the next derivative does not explain.

    Attributes:
        at: middle of the interval, Å.
        size: size of the step.
        noise: size of such steps in the intervals around.
        level: magnitude of the curve, or of its slope, there.
    """

    at: float
    size: float
    noise: float
    level: float


def find_jumps(
    curve: Callable[[Floats], Floats], grid: Floats, values: Floats, suspects: Sequence[float] = ()
) -> list[tuple[Jump, Jump]]:
    """Return the jumps of a curve, and of its slope, at the most suspicious places; most of them are noise.

    Args:
        curve: function that returns values at distances (Å).
        grid: evenly spaced distances, at least 20, Å.
        values: the curve at these distances.
        suspects: places to look at in any case, Å.
    """
    places = [(place - NARROW, place + NARROW) for place in suspects if grid[2] < place < grid[-3]]
    found = []
    for order in ORDERS:
        intervals = [(float(grid[index]), float(grid[index + 1])) for index in _suspicious(values, order)]
        found += [_narrow(curve, left, right, order) for left, right in places + intervals]
    return found


def _roughness(values: Floats, order: int) -> Floats:
    """Return the sum of the magnitudes of all differences that span an interval, from interval order - 1 on.

    A jump or a kink in an interval shows in all of these differences, though it can be small in one of them.
    """
    return np.asarray(np.convolve(np.abs(np.diff(values, order)), np.ones(order), "valid"), dtype=np.float64)


def _suspicious(values: Floats, order: int) -> list[int]:
    """Return the intervals, by their left ends, whose differences are large compared with those around."""
    roughness = _roughness(values, order)
    window = 12
    padded = np.pad(roughness, window, mode="reflect")
    around = np.array([np.median(padded[i : i + 2 * window + 1]) for i in range(len(roughness))])
    floor = order * 2.0**order * np.finfo(float).eps * max(float(np.abs(values).max()), np.finfo(float).tiny)
    found: list[int] = []
    for index in np.argsort(-roughness / (around + floor)):
        # All intervals near a jump stand out; the one with the jump stands out most.
        first = max(0, int(index) - order)
        interval = first + int(roughness[first : int(index) + order + 1].argmax()) + order - 1
        if all(abs(interval - other) > order for other in found):
            found.append(interval)
        if len(found) == CANDIDATES:
            break
    return found


def _narrow(curve: Callable[[Floats], Floats], left: float, right: float, order: int) -> tuple[Jump, Jump]:
    """Divide an interval, following the greatest differences, until the jumps of curve and slope are known."""
    of_curve: list[Jump] = []
    of_slope: list[Jump] = []
    widest: tuple[float, float] | None = None
    while True:
        width = (right - left) / PARTS
        points = left + width * np.arange(-AROUND, PARTS + AROUND + 1, dtype=np.float64)
        values = curve(points)
        # The intervals inside the one that is divided.
        first = AROUND - order + 1
        middle = int(_roughness(values, order)[first : first + PARTS].argmax()) + AROUND
        left, right = float(points[middle]), float(points[middle + 1])
        if width > NARROW:
            continue
        of_curve.append(_leftover(points, values, middle))
        of_slope.append(_leftover_of_slope(points, values, middle))
        widest = widest or (left, width)
        if width <= NARROWEST or (_is_settled(of_curve) and _is_settled(of_slope)):
            return _with_noise_farther_out(curve, *widest, _limit(of_curve), _limit(of_slope))


def _is_settled(jumps: list[Jump]) -> bool:
    """Return whether narrower intervals would not help: there is no jump, or it stays, or noise hides it."""
    first, last = jumps[0], jumps[-1]
    if not stands_out(first) or last.noise * ABOVE_NOISE > first.size:
        return True
    return len(jumps) > 2 and last.size > STAYS * first.size


def _limit(jumps: list[Jump]) -> Jump:
    """Return the least jump that was found in ever narrower intervals, as far as noise lets it be seen.

    A true jump is the same in all of them. One that shrinks with the interval is a jump of the next derivative, or
    comes from a curve like x ln x.
    """
    first = jumps[0]
    least = min([first, *(jump for jump in jumps if jump.noise * ABOVE_NOISE < first.size)], key=lambda jump: jump.size)
    # The widest interval gives the best measure of a jump that stays.
    return first if least.size > 0.5 * first.size else least


def stands_out(jump: Jump) -> bool:
    """Return whether a jump is too large to be noise."""
    return jump.size > ABOVE_NOISE * jump.noise


def _with_noise_farther_out(
    curve: Callable[[Floats], Floats], left: float, width: float, of_curve: Jump, of_slope: Jump
) -> tuple[Jump, Jump]:
    """Return the jumps of curve and slope with the noise of more intervals of one width, if one of them stands out."""
    if not (stands_out(of_curve) or stands_out(of_slope)):
        return of_curve, of_slope
    points = left + width * np.arange(-FARTHER, FARTHER + 2, dtype=np.float64)
    values = curve(points)
    noise = _noise(_leftovers(values), FARTHER - 1, NOISY)
    noise_of_slope = _noise(_leftovers_of_slope(np.diff(values) / width), FARTHER - 3, NOISY)
    return (
        replace(of_curve, noise=max(noise, of_curve.noise)),
        replace(of_slope, noise=max(noise_of_slope, of_slope.noise)),
    )


def _leftover(points: Floats, values: Floats, middle: int) -> Jump:
    """Return the step over the middle interval less the mean of the steps beside it, and its noise."""
    return _jump(points, _leftovers(values), middle - 1, middle, float(np.abs(values).max()))


def _leftover_of_slope(points: Floats, values: Floats, middle: int) -> Jump:
    """Return the change of slope across the middle interval less the mean of the changes beside it, and its noise."""
    slopes = np.diff(values) / float(points[1] - points[0])
    return _jump(points, _leftovers_of_slope(slopes), middle - 3, middle, float(np.abs(slopes).max()))


def _leftovers(values: Floats) -> Floats:
    """Return the step over each interval less the mean of the steps beside it, from the second interval on."""
    steps = np.diff(values)
    return np.asarray(np.abs(steps[1:-1] - 0.5 * (steps[:-2] + steps[2:])), dtype=np.float64)


def _leftovers_of_slope(slopes: Floats) -> Floats:
    """Return the change of slope across each interval less the mean of the changes beside it, from the fourth on."""
    # A kink inside an interval is divided between the changes of slope at both ends, so it is taken across the whole.
    changes = slopes[2:] - slopes[:-2]
    return np.asarray(np.abs(changes[2:-2] - 0.5 * (changes[:-4] + changes[4:])), dtype=np.float64)


def _jump(points: Floats, leftover: Floats, here: int, middle: int, level: float) -> Jump:
    """Return the leftover at one index as a jump, with the leftovers around as its noise."""
    at = 0.5 * float(points[middle] + points[middle + 1])
    return Jump(at, float(leftover[here]), _noise(leftover, here, 0.5), level)


def _noise(leftover: Floats, here: int, part: float) -> float:
    """Return what a part of the leftovers on either side of one index does not exceed, on the noisier side."""
    # Beyond a cutoff there is no noise.
    sides = [side for side in (leftover[: max(0, here - 2)], leftover[here + 3 :]) if len(side) > 2]
    return max(float(np.quantile(side, part)) for side in sides)
