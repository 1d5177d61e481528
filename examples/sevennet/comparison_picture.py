# SPDX-License-Identifier: LGPL-2.1-or-later
"""One picture: the equation of state from both, the difference, and the time of a step."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results import ASE, LAMMPS, LIMITS, PACKAGE, Compared, Curve

_COLOURS = {LAMMPS: "C0", ASE: "C2", PACKAGE: "C1"}


def draw(compared: list[Compared], curves: dict[str, Curve], path: Path) -> None:
    """Draw the picture.

    Args:
        compared: The structures.
        curves: Equations of state, those of LAMMPS and PACKAGE.
        path: PNG file to write; its folder is made if it does not exist.
    """
    figure = Figure(figsize=(13.0, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    energies, differences, times = figure.subplots(1, 3)
    _draw_energies(energies, curves)
    _draw_differences(differences, curves)
    _draw_times(times, compared)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_energies(axes: Axes, curves: dict[str, Curve]) -> None:
    own = curves[PACKAGE]
    lowest = own.least_energy
    for name, marker, size in ((PACKAGE, "o", 9.0), (LAMMPS, "x", 6.0)):
        curve = curves[name]
        axes.plot(
            curve.volumes, 1000.0 * (curve.energies - lowest), marker, markersize=size, color=_COLOURS[name],
            fillstyle="none", label=f"{name}: a = {curve.lattice_constant:.4f} Å, B = {curve.bulk_modulus:.2f} GPa",
        )  # fmt: skip
    smooth = np.linspace(own.volumes.min(), own.volumes.max(), 200)
    axes.plot(smooth, 1000.0 * (own.fitted(smooth) - lowest), color="0.6", linewidth=0.9, zorder=0)
    axes.set(
        title="Equation of state of silicon",
        xlabel="volume (Å³/atom)",
        ylabel="energy - least energy (meV/atom)",
    )
    # Room for the legend, above the points at both ends.
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.25 * (top - bottom))
    axes.legend(loc="upper center", fontsize="small")


def _draw_differences(axes: Axes, curves: dict[str, Curve]) -> None:
    here, own = curves[LAMMPS], curves[PACKAGE]
    limit = 1e6 * LIMITS["energy"]
    axes.axhspan(-limit, limit, color="0.93", zorder=0, label="allowed")
    differences = 1e6 * (here.energies - own.energies)
    axes.plot(own.volumes, differences, "o-", color=_COLOURS[LAMMPS], label="difference")
    reach = max(1.6 * limit, 1.2 * float(np.abs(differences).max()))
    axes.set(
        title=f"LAMMPS - {PACKAGE} calculator",
        xlabel="volume (Å³/atom)",
        ylabel="difference of the energy (µeV/atom)",
        ylim=(-reach, reach),
    )
    axes.legend()


def _draw_times(axes: Axes, compared: list[Compared]) -> None:
    places = np.arange(len(compared))
    for index, (where, colour) in enumerate(_COLOURS.items()):
        bars = axes.bar(places + 0.27 * (index - 1), [each.time(where) for each in compared], 0.25, color=colour)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
        bars.set_label(where)
    axes.set_xticks(places, [f"{each.name}\n{each.n_atoms} atoms" for each in compared])
    axes.set(title="Time of a step, one thread", ylabel="ms")
    axes.margins(y=0.12)
    axes.legend()
