# SPDX-License-Identifier: LGPL-2.1-or-later
"""One picture: how well energy is conserved, and how forces compare with the reference."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from lammps_md import Trajectory
from parity import Parity


def draw(trajectories: list[tuple[str, Trajectory]], parities: list[Parity], path: Path) -> None:
    """Draw the picture.

    Args:
        trajectories: Name and trajectory of each model.
        parities: Forces of each model and of the reference.
        path: PNG file to write.
    """
    rows = (len(parities) + 2) // 2
    figure, grid = plt.subplots(rows, 2, figsize=(10.4, 4.6 * rows), layout="constrained")
    conservation, *others = grid.ravel()
    for name, trajectory in trajectories:
        deviation = 1000.0 * (trajectory.total_energies - trajectory.total_energies[0]) / len(trajectory.forces)
        conservation.plot(trajectory.times, deviation, label=name)
    conservation.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    conservation.set(title="NVE in LAMMPS", xlabel="time (ps)", ylabel="total energy - initial total energy (meV/atom)")
    conservation.legend()
    for axis, parity in zip(others, parities, strict=False):
        _draw_parity(axis, parity)
    for axis in others[len(parities) :]:
        axis.remove()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_parity(axis: plt.Axes, parity: Parity) -> None:
    limit = 1.05 * float(np.abs(parity.reference_forces).max())
    axis.plot([-limit, limit], [-limit, limit], color="0.7", linewidth=0.8)
    # The widest spread comes first, so that the others are not hidden behind it.
    for kind in reversed(dict.fromkeys(parity.kinds)):
        axis.plot(*parity.of_kind(kind), ".", markersize=3, label=f"{kind}: {_in_mev(parity.rmse(kind))} meV/Å")
    axis.set(
        title=f"{parity.model}\nforces on unseen structures",
        xlabel="force of the reference (eV/Å)",
        ylabel="force of the model (eV/Å)",
        aspect="equal",
    )
    axis.legend(title="root mean square error")


def _in_mev(error: float) -> str:
    """Return an error in meV/Å, with as many digits as mean something."""
    error *= 1000.0
    return "< 0.01" if error < 0.01 else f"{error:.2f}" if error < 1.0 else f"{error:.0f}"
