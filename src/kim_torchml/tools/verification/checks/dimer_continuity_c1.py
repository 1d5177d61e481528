# SPDX-License-Identifier: LGPL-2.1-or-later
"""The energy of two atoms, and its slope, have no jump from half the bond length to beyond the cutoff."""

from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.crystals import dimer
from kim_torchml.tools.verification.grades import FAILED, PASSED
from kim_torchml.tools.verification.jumps import Jump, find_jumps, stands_out
from kim_torchml.tools.verification.model_under_test import ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome

POINTS = 400
# Accuracy to which the greatest distance that a model computes is found, Å.
AT_END = 1e-8
# Distance at which rounding is measured, relative to the bond length.
STRETCHED = 1.1
# Step of the slope at that greatest distance, for models without forces, Å.
STEP_AT_END = 1e-5


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Look for jumps in the curves of all pairs of species."""
    pairs = under_test.pairs()
    rows: list[dict[str, Any]] = []
    for index, (first, second) in enumerate(pairs):
        row: dict[str, Any] = {"configuration": f"{first}-{second}"}
        try:
            row |= _test(under_test, first, second)
        except ModelError as error:
            row["not computed"] = str(error)
        rows.append(row)
        under_test.progress((index + 1) / len(pairs))
    return _outcome(rows, under_test.has_forces)


class _Curves:
    """Energy and force of one pair of species over its distance; each distance is computed once."""

    def __init__(self, under_test: ModelUnderTest, first: str, second: str) -> None:
        self._under_test, self._pair = under_test, (first, second)
        self._known: dict[float, tuple[float, float]] = {}

    def both(self, distance: float) -> tuple[float, float]:
        """Return the energy (eV) and the force that drives the atoms apart (eV/Å; 0 for models without forces)."""
        if distance not in self._known:
            result = self._under_test.evaluate(dimer(*self._pair, distance))
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


def _test(under_test: ModelUnderTest, first: str, second: str) -> dict[str, Any]:
    """Return the curves of one pair of species, and the greatest jump in each."""
    bond = under_test.bond(first, second)
    cutoffs = sorted({*under_test.model.cutoffs, under_test.model.influence_distance})
    curves = _Curves(under_test, first, second)
    grid = np.linspace(0.5 * bond, 1.05 * max(cutoffs), POINTS)
    computed = np.array([curves.can_compute(float(distance)) for distance in grid])
    grid, end = _computable(grid, computed, cutoffs)
    row: dict[str, Any] = {"bond": bond, "cutoffs": cutoffs, "distances": grid.tolist()}
    row["energy"] = curves.energy(grid).tolist()
    if under_test.has_forces:
        row["force"] = curves.force(grid).tolist()
    if not any(np.ptp(row[name]) for name in ("energy", "force") if name in row):
        raise ModelError("the atoms do not interact: energy and force do not depend on their distance")
    scales = _scales(row, bond)
    found = [
        _rated(of, jump, scales[of])
        for jumps in find_jumps(curves.energy, grid, np.array(row["energy"]), cutoffs)
        for of, jump in zip(("energy", "slope"), jumps, strict=True)
    ]
    if under_test.has_forces:
        jumps = find_jumps(curves.force, grid, np.array(row["force"]), cutoffs)
        found += [_rated("force", jump, scales["force"]) for jump, _ in jumps]
    if end is not None:
        row["not computed beyond"] = end
        found.append(_at_end(curves, end, "force" if under_test.has_forces else "slope", scales))
    # Rounding is measured where the curve is steep: at the bond length there are no forces.
    tolerance = under_test.tolerance_for(dimer(first, second, STRETCHED * bond), bond)
    return row | _worst(found, tolerance)


def _scales(row: dict[str, Any], bond: float) -> dict[str, float]:
    """Return the range of each curve beyond the bond: next to the repulsive wall every jump would look small."""
    distances = np.array(row["distances"])
    curves: dict[str, Floats] = {name: np.array(row[name]) for name in ("energy", "force") if name in row}
    curves["slope"] = np.gradient(curves["energy"], distances)
    return {name: float(np.ptp(values[distances >= 0.9 * bond])) for name, values in curves.items()}


def _rated(of: str, jump: Jump, scale: float) -> dict[str, Any]:
    """Return a jump in the form of the reports."""
    return {"of": of, "at": jump.at, "size": jump.size, "relative": relative(jump, scale)}


def _worst(found: list[dict[str, Any]], tolerance: float) -> dict[str, Any]:
    """Return the greatest error, and for each curve the greatest jump above the tolerance."""
    jumps: dict[str, dict[str, Any]] = {}
    for jump in sorted(found, key=lambda jump: float(jump["relative"])):
        if jump["relative"] > tolerance:
            jumps[jump["of"]] = jump
    return {"error": max(jump["relative"] for jump in found), "tolerance": tolerance, "jumps": list(jumps.values())}


def _computable(grid: Floats, computed: np.ndarray, cutoffs: list[float]) -> tuple[Floats, float | None]:
    """Return the distances that the model computes, and the greatest of them if it refuses greater ones.

    Some models refuse isolated atoms, and some refuse atoms close together.

    Raises:
        ModelError: These distances are too few, have gaps, or end before the cutoff.
    """
    if computed.all():
        return grid, None
    good = np.flatnonzero(computed)
    if len(good) < POINTS // 4 or len(good) != good[-1] - good[0] + 1 or grid[good[-1]] < 0.98 * min(cutoffs):
        raise ModelError(f"of {len(grid)} distances {len(grid) - len(good)} cannot be computed")
    end = None if good[-1] == len(grid) - 1 else float(grid[good[-1]])
    return grid[good[0] : good[-1] + 1], end


def _at_end(curves: _Curves, end: float, of: str, scales: dict[str, float]) -> dict[str, Any]:
    """Return the force, or slope, at the greatest computable distance as a jump: farther out it must be 0."""
    low, high = end, end + 1.0
    while high - low > AT_END:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if curves.can_compute(middle) else (low, middle)
    if of == "force":
        size, reach = abs(float(curves.force(np.array([low]))[0])), AT_END
    else:
        energies = curves.energy(np.array([low - STEP_AT_END, low]))
        size, reach = abs(float(energies[1] - energies[0])) / STEP_AT_END, STEP_AT_END
    # A force that vanishes linearly at the cutoff is not quite zero at this distance from it.
    error = 0.0 if size <= reach * 1e3 * scales[of] else size / scales[of]
    return {"of": of, "at": low, "size": size, "relative": error}


def relative(jump: Jump, scale: float) -> float:
    """Return a jump relative to the curve's range or local magnitude, the greater; 0 if noise can explain the jump."""
    if not stands_out(jump):
        return 0.0
    return jump.size / max(scale, jump.level)


def _outcome(rows: list[dict[str, Any]], has_forces: bool) -> CheckOutcome:
    details = {"rows": rows}
    tested = [row for row in rows if "error" in row]
    if not tested:
        return CheckOutcome(FAILED, None, f"no dimer could be computed: {rows[0]['not computed']}", details)
    worst = max(tested, key=lambda row: float(row["error"] / row["tolerance"]))
    if worst["jumps"]:
        # If the forces are right, a jump of the force is one of the slope too; then the force is named.
        jump = max(worst["jumps"], key=lambda jump: float(jump["relative"]) * (0.5 if jump["of"] == "slope" else 1.0))
        unit = "eV" if jump["of"] == "energy" else "eV/Å"
        at_cutoff = min(abs(jump["at"] - cutoff) for cutoff in worst["cutoffs"]) < 1e-3
        place = f"{jump['at']:.4f} Å" + (", the cutoff" if at_cutoff else "")
        curve = "slope of the energy" if jump["of"] == "slope" else jump["of"]
        comment = f"{worst['configuration']}: the {curve} jumps by {jump['size']:.2g} {unit} at {place}."
        return CheckOutcome(FAILED, worst["error"], comment, details)
    curves = "Energy, its slope and force" if has_forces else "Energy and its slope"
    pairs = "1 pair" if len(tested) == 1 else f"{len(tested)} pairs"
    missing = len(rows) - len(tested)
    comment = f"{curves} are continuous for {pairs} of species, cutoff included"
    if any("not computed beyond" in row for row in tested):
        comment += " (beyond it the model computes no dimer)"
    comment += f"; {missing} could not be computed." if missing else "."
    return CheckOutcome(PASSED, worst["error"], comment, details)


CHECK = Check("dimer-continuity-c1", run)
