# SPDX-License-Identifier: LGPL-2.1-or-later
"""The errors of the network as a table and a parity plot."""

from collections.abc import Mapping
from pathlib import Path

from fitting import Evaluation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor


def print_errors(evaluations: Mapping[str, Evaluation], console: Console) -> None:
    """Print root mean square errors on the test set.

    Args:
        evaluations: Evaluations by kind of structure.
        console: Console that shows the table.
    """
    table = Table(title="Test error (root mean square)")
    table.add_column("structures")
    for column in ("number", "energy (meV/atom)", "force (meV/Å)", "force / its std"):
        table.add_column(column, justify="right")
    for name, evaluation in evaluations.items():
        table.add_row(
            name,
            str(len(evaluation.energies)),
            f"{1e3 * evaluation.energy_rmse():.3f}",
            f"{1e3 * evaluation.force_rmse():.2f}",
            f"{100.0 * evaluation.relative_force_rmse():.2f} %",
        )
    console.print(table)


def plot_parity(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Write the parity plot: energies and forces of the network against the reference model's.

    Args:
        evaluations: Evaluations by kind of structure; `all` is not drawn, as it repeats the others.
        path: The PNG file; its folder is made if it does not exist.
    """
    figure = Figure(figsize=(9.0, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    energy_axes, force_axes = figure.subplots(1, 2)
    everything = evaluations["all"]
    for name, evaluation in evaluations.items():
        if name != "all":
            expected = evaluation.expected
            scatter(energy_axes, expected.energies, evaluation.energies, 12.0, name)
            scatter(force_axes, expected.forces.flatten(), evaluation.forces.flatten(), 3.0, name)
    mean_energy = float(everything.expected.energies.mean())
    finish(energy_axes, mean_energy, "energy (eV/atom)")
    finish(force_axes, 0.0, "force component (eV/Å)")
    energy_axes.set_title(f"test error {1e3 * everything.energy_rmse():.1f} meV/atom")
    force_axes.set_title(f"test error {1e3 * everything.force_rmse():.1f} meV/Å")
    energy_axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def scatter(axes: Axes, expected: Tensor, predicted: Tensor, size: float, name: str) -> None:
    """Draw predicted against expected values."""
    axes.scatter(expected.numpy(), predicted.numpy(), s=size, linewidths=0.0, label=name)


def finish(axes: Axes, value: float, quantity: str) -> None:
    """Draw the diagonal, through a value that is among those shown, and label the axes."""
    axes.axline((value, value), slope=1.0, color="0.4", linewidth=0.8, zorder=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"Stillinger-Weber {quantity}")
    axes.set_ylabel(f"network {quantity}")
