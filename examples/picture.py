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
    figure, axes = plt.subplots(1, 1 + len(parities), figsize=(5.2 * (1 + len(parities)), 4.6), layout="constrained")
    conservation = axes[0]
    for name, trajectory in trajectories:
        deviation = 1000.0 * (trajectory.total_energies - trajectory.total_energies[0]) / len(trajectory.forces)
        conservation.plot(trajectory.times, deviation, label=name)
    conservation.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    conservation.set(title="NVE in LAMMPS", xlabel="time (ps)", ylabel="total energy - initial total energy (meV/atom)")
    conservation.legend()
    for axis, parity in zip(axes[1:], parities, strict=True):
        _draw_parity(axis, parity)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_parity(axis: plt.Axes, parity: Parity) -> None:
    limit = 1.05 * float(np.abs(parity.reference_forces).max())
    axis.plot([-limit, limit], [-limit, limit], color="0.7", linewidth=0.8)
    # The widest spread comes first, so that the others are not hidden behind it.
    for kind in reversed(dict.fromkeys(parity.kinds)):
        chosen = np.array([other == kind for other in parity.kinds])
        axis.plot(
            np.concatenate([parity.reference_forces[i].ravel() for i in np.flatnonzero(chosen)]),
            np.concatenate([parity.forces[i].ravel() for i in np.flatnonzero(chosen)]),
            ".",
            markersize=3,
            label=kind,
        )
    axis.set(
        title=f"{parity.model}\nforce RMSE {1000.0 * parity.rmse():.2g} meV/Å",
        xlabel="force of the reference (eV/Å)",
        ylabel="force of the model (eV/Å)",
        aspect="equal",
    )
    axis.legend()
