# SPDX-License-Identifier: LGPL-2.1-or-later
"""The energy of two atoms, and its slope, have no jump: from half the bond to beyond the cutoff."""

from typing import Any

import numpy as np

from kim_torchml.verification.bench import Bench
from kim_torchml.verification.checks.base import Check
from kim_torchml.verification.grades import FAILED, PASSED, TOLERANCE
from kim_torchml.verification.jumps import Jump, find_jumps
from kim_torchml.verification.kim_model import ModelError
from kim_torchml.verification.result import Finding
from kim_torchml.verification.structures import Floats, dimer

POINTS = 400
# How closely the end of the distances that a model computes is found, Å.
AT_END = 1e-8
# A step counts as a jump only if it is this much above those around it.
ABOVE_NOISE = 30.0


def run(bench: Bench) -> Finding:
    """Look for jumps in the curves of all pairs of species."""
    pairs = bench.pairs()
    rows: list[dict[str, Any]] = []
    for index, (first, second) in enumerate(pairs):
        row: dict[str, Any] = {"configuration": f"{first}-{second}"}
        try:
            row |= _test(bench, first, second)
        except ModelError as error:
            row["not computed"] = str(error)
        rows.append(row)
        bench.progress((index + 1) / len(pairs))
    return _finding(rows, bench.has_forces)


class _Curves:
    """Energy and force of one pair of species over its distance; each distance is computed once."""

    def __init__(self, bench: Bench, first: str, second: str) -> None:
        self._bench, self._pair = bench, (first, second)
        self._known: dict[float, tuple[float, float]] = {}

    def both(self, distance: float) -> tuple[float, float]:
        """Return the energy (eV) and the force that drives the atoms apart (eV/Å; 0 for models without forces)."""
        if distance not in self._known:
            result = self._bench.evaluate(dimer(*self._pair, distance))
            self._known[distance] = (result.energy, 0.0 if result.forces is None else float(result.forces[1, 0]))
        return self._known[distance]

    def energy(self, distances: Floats) -> Floats:
        """Return energies at several distances."""
        return np.array([self.both(float(distance))[0] for distance in distances])

    def force(self, distances: Floats) -> Floats:
        """Return forces at several distances."""
        return np.array([self.both(float(distance))[1] for distance in distances])

    def can_compute(self, distance: float) -> bool:
        """Return whether the model computes the dimer."""
        try:
            self.both(distance)
        except ModelError:
            return False
        return True


def _test(bench: Bench, first: str, second: str) -> dict[str, Any]:
    """Return the curves of one pair, and the greatest jump in each."""
    bond = bench.bond(first, second)
    cutoffs = sorted({*bench.model.cutoffs, bench.model.influence_distance})
    curves = _Curves(bench, first, second)
    row: dict[str, Any] = {"bond": bond, "cutoffs": cutoffs, "jumps": []}
    grid = np.linspace(0.5 * bond, 1.05 * max(cutoffs), POINTS)
    computed = np.array([curves.can_compute(float(distance)) for distance in grid])
    grid, end = _computable(grid, computed, cutoffs)
    errors = []
    for name, curve in {"energy": curves.energy, "force": curves.force}.items():
        if name == "force" and not bench.has_forces:
            continue
        values = curve(grid)
        # Beyond the bond: the wall's height must not excuse a jump at the cutoff.
        scale = float(np.ptp(values[grid >= 0.9 * bond]))
        row[name] = values.tolist()
        found = [(relative(jump, scale), jump.at, jump.size) for jump in find_jumps(curve, grid, values, cutoffs)]
        if end is not None and name == "force":
            row["not computed beyond"] = end
            found.append(_at_end(curves, end, scale))
        error, at, size = max(found)
        errors.append(error)
        if error > TOLERANCE:
            row["jumps"].append({"of": name, "at": at, "size": size, "relative": error})
    return row | {"error": max(errors), "distances": grid.tolist()}


def _computable(grid: Floats, computed: np.ndarray, cutoffs: list[float]) -> tuple[Floats, float | None]:
    """Return the distances that the model computes, and where they end if it is at a cutoff or beyond.

    Some models compute no isolated atoms, and some no atoms close together.

    Raises:
        ModelError: There are too few, or gaps among them.
    """
    if computed.all():
        return grid, None
    good = np.flatnonzero(computed)
    if len(good) < POINTS // 4 or len(good) != good[-1] - good[0] + 1 or grid[good[-1]] < 0.98 * min(cutoffs):
        raise ModelError(f"of {len(grid)} distances {len(grid) - len(good)} cannot be computed")
    end = None if good[-1] == len(grid) - 1 else float(grid[good[-1]])
    return grid[good[0] : good[-1] + 1], end


def _at_end(curves: _Curves, end: float, scale: float) -> tuple[float, float, float]:
    """Return relative size, place and size of the force where the computable distances end: beyond it must be 0."""
    low, high = end, end + 1.0
    while high - low > AT_END:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if curves.can_compute(middle) else (low, middle)
    force = abs(float(curves.force(np.array([low]))[0]))
    # A force that vanishes linearly at the cutoff is still there at this distance from it.
    return (0.0 if force <= AT_END * 1e3 * scale else force / scale), low, force


def relative(jump: Jump, scale: float) -> float:
    """Return a jump over the greater of the curve's range and its magnitude there; 0 if it is not above the noise."""
    if jump.size <= ABOVE_NOISE * jump.noise:
        return 0.0
    return jump.size / max(scale, jump.level)


def _finding(rows: list[dict[str, Any]], has_forces: bool) -> Finding:
    details = {"rows": rows, "tolerance": TOLERANCE}
    tested = [row for row in rows if "error" in row]
    if not tested:
        return Finding(FAILED, None, f"no dimer could be computed: {rows[0]['not computed']}", details)
    worst = max(tested, key=lambda row: row["error"])
    if worst["jumps"]:
        jump = max(worst["jumps"], key=lambda jump: float(jump["relative"]))
        unit = "eV" if jump["of"] == "energy" else "eV/Å"
        at_cutoff = min(abs(jump["at"] - cutoff) for cutoff in worst["cutoffs"]) < 1e-3
        place = f"{jump['at']:.4f} Å" + (", the cutoff" if at_cutoff else "")
        comment = f"{worst['configuration']}: the {jump['of']} jumps by {jump['size']:.2g} {unit} at {place}."
        return Finding(FAILED, worst["error"], comment, details)
    curves = "Energy and force are continuous" if has_forces else "The energy is continuous (there are no forces)"
    pairs = "1 pair" if len(tested) == 1 else f"{len(tested)} pairs"
    missing = len(rows) - len(tested)
    comment = f"{curves} for {pairs} of species, cutoff included"
    if any("not computed beyond" in row for row in tested):
        comment += " (beyond it the model computes no dimer)"
    comment += f"; {missing} could not be computed." if missing else "."
    return Finding(PASSED, worst["error"], comment, details)


CHECK = Check(
    "dimer-continuity-c1",
    "The energy of a dimer and its first derivative are continuous, across the cutoff too.",
    run,
)
