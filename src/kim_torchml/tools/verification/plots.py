# SPDX-License-Identifier: LGPL-2.1-or-later
"""The report's figures, as SVG."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kim_torchml.tools.verification.grades import LETTER_LIMITS, MACHINE_PRECISION

BLUE, ORANGE, RED, GREY = "#2b6cb0", "#c05621", "#c53030", "#718096"
WIDTH, HEIGHT = 7.2, 3.0
MOST_DIMERS = 6


def _svg(figure: Figure) -> str:
    """Return a figure as the text of an SVG file."""
    target = io.StringIO()
    # Without a date, the same results give the same file.
    figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()


def _draw(drawing: Callable[[Any], None], rows: int = 1, height: float = HEIGHT) -> str:
    """Return the SVG of axes, one below the other, that `drawing` fills."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True)
    drawing(axes)
    for each in np.atleast_1d(axes):
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def dimer(row: dict[str, Any]) -> str:
    """Return a plot of energy and force of one pair of species over distance, with jumps and cutoffs marked."""

    def drawing(axes: Any) -> None:
        distances = np.array(row["distances"])
        energies = np.array(row["energy"])
        upper, lower = axes
        _curve(upper, distances, energies, row["bond"], BLUE, None)
        upper.set_ylabel("energy (eV)")
        upper.set_title(row["configuration"], loc="left", fontsize=10, fontweight="bold")
        slope = -np.gradient(energies, distances)
        if "force" in row:
            _curve(lower, distances, np.array(row["force"]), row["bond"], ORANGE, "the model's force")
        else:
            _show_well(lower, distances, slope, row["bond"])
        lower.plot(distances, slope, "--", color=GREY, linewidth=1.0, label="−dE/dr of the curve above")
        lower.set_ylabel("force (eV/Å)")
        lower.set_xlabel("distance (Å)")
        # The influence distance of a graph model is several cutoffs, but two atoms interact within one cutoff only.
        upper.set_xlim(distances[0], min(distances[-1], 1.3 * row["cutoffs"][0]))
        for each in axes:
            for cutoff in row["cutoffs"]:
                each.axvline(cutoff, color=GREY, linestyle=":", linewidth=1.0)
        lower.plot([], [], ":", color=GREY, linewidth=1.0, label="cutoff, influence distance")
        of_force = [jump["at"] for jump in row["jumps"] if jump["of"] == "force"]
        for jump in row["jumps"]:
            # If the force jumps at the same place, that mark is enough.
            if jump["of"] == "slope" and any(abs(jump["at"] - at) < 1e-3 for at in of_force):
                continue
            axis = upper if jump["of"] == "energy" else lower
            axis.axvline(jump["at"], color=RED, linewidth=1.2)
            axis.annotate(
                f"jump of {jump['size']:.2g}", (jump["at"], 0.92), xycoords=("data", "axes fraction"), color=RED,
                xytext=(4, 0), textcoords="offset points", fontsize=8,
            )  # fmt: skip
        lower.legend(fontsize=8, frameon=False)

    return _draw(drawing, rows=2, height=4.4)


def _curve(axis: Axes, distances: Any, values: Any, bond: float, colour: str, name: str | None) -> None:
    """Draw a curve, with limits that show the well rather than the wall."""
    axis.plot(distances, values, color=colour, linewidth=1.5, label=name)
    _show_well(axis, distances, values, bond)


def _show_well(axis: Axes, distances: Any, values: Any, bond: float) -> None:
    """Set limits that fit the curve beyond the bond length."""
    beyond = values[distances >= 0.9 * bond]
    low, high = float(beyond.min()), float(beyond.max())
    margin = 0.35 * (high - low) or 1.0
    axis.set_ylim(low - margin, high + margin)


def force_error(by_step: dict[str, Any]) -> str:
    """Return a plot of the error of plain central differences over their step, with the limits of the grades."""

    def drawing(axis: Axes) -> None:
        steps, errors = np.array(by_step["steps"]), np.array(by_step["errors"])
        shown = np.maximum(errors, MACHINE_PRECISION)
        axis.loglog(steps, shown, "o-", color=BLUE, markersize=3, linewidth=1.0, label="central difference, this step")
        axis.axhline(
            max(by_step["error"], MACHINE_PRECISION), color=ORANGE, linewidth=1.5, label="all components, extrapolated"
        )
        low, high = min(1e-14, float(shown.min()) / 3), max(1.0, float(shown.max()) * 3)
        for letter, limit in LETTER_LIMITS.items():
            error = MACHINE_PRECISION * 10**limit
            if low < error < high:
                axis.axhline(error, color=GREY, linestyle=":", linewidth=0.8)
                axis.annotate(
                    f"{letter} ends here", (1.0, error), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                    fontsize=8, color=GREY,
                )  # fmt: skip
        axis.set_ylim(low, high)
        axis.set_xlabel("step (Å)")
        axis.set_ylabel("relative error of the force")
        axis.legend(fontsize=8, frameon=False, loc="upper left")

    return _draw(drawing)


def memory(details: dict[str, Any]) -> str:
    """Return a plot of each measure of memory over the cycles, with its limit."""
    names = list(details["limits"])

    def drawing(axes: Any) -> None:
        cycles = np.array(details["cycles"])
        for axis, name, colour in zip(np.atleast_1d(axes), names, (BLUE, ORANGE), strict=False):
            values = np.array(details[f"{name} KiB"])
            start = f"{name} memory, from {values[0] / 1024.0:.0f} MiB"
            axis.plot(cycles, values - values[0], color=colour, linewidth=1.2, label=start)
            limit = details["limits"][name]
            label = f"the limit: {limit:.0f} bytes a cycle"
            axis.plot(cycles, limit * cycles / 1024.0, "--", color=RED, linewidth=1.0, label=label)
            axis.set_ylabel("growth (KiB)")
            axis.legend(fontsize=8, frameon=False, loc="upper left")
        np.atleast_1d(axes)[-1].set_xlabel("create, compute, destroy (cycles)")

    return _draw(drawing, rows=len(names), height=1.9 * len(names) + 0.7)


def nve(run: dict[str, Any]) -> str:
    """Return a plot of the changes of total and potential energy over time."""

    def drawing(axes: Any) -> None:
        upper, lower = axes
        times = np.array(run["times_fs"])
        totals = 1000.0 * np.array(run["total_eV_per_atom"])
        potentials = 1000.0 * np.array(run["potential_eV_per_atom"])
        upper.plot(times, totals - totals[0], color=BLUE, linewidth=1.2)
        upper.set_ylabel("total − start\n(meV/atom)")
        lower.plot(times, potentials - potentials[0], color=ORANGE, linewidth=1.2)
        lower.set_ylabel("potential − start\n(meV/atom)")
        lower.set_xlabel("time (fs)")

    return _draw(drawing, rows=2, height=3.8)
