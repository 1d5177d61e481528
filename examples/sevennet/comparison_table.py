# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables that are printed."""

from results import ASE, LAMMPS, LIMITS, PACKAGE, SIMULATORS, UNITS, Compared, Curve
from rich.table import Table


def structure_table(compared: list[Compared], steps: int, turns: int) -> Table:
    """Return the table of structures, a column for each.

    Args:
        compared: The structures.
        steps: Steps of molecular dynamics in each turn.
        turns: Number of turns.
    """
    table = Table(title=f"SevenNet-0 through KIM beside {PACKAGE} calculator")
    table.caption = f"one thread; times: best of {turns} turns of {steps} steps of dynamics (NVE)"
    table.add_column("")
    for each in compared:
        table.add_column(f"{each.name} ({each.n_atoms})", justify="right")
    own = [each.results[PACKAGE] for each in compared]
    table.add_row(f"energy, {PACKAGE} (eV/atom)", *(f"{row.energy / len(row.forces):.6f}" for row in own))
    table.add_row("largest force (eV/Å)", *(f"{abs(row.forces).max():.2f}" for row in own))
    table.add_row("pressure (GPa)", *(f"{row.pressure:.3f}" for row in own), end_section=True)
    for simulator in SIMULATORS:
        differences = [each.differences(simulator) for each in compared]
        for what, limit in LIMITS.items():
            heading = f"{simulator}: {what}, difference ({UNITS[what]})"
            cells = [_limited(difference[what], limit) for difference in differences]
            table.add_row(heading, *cells, end_section=what == list(LIMITS)[-1])
    for where in (LAMMPS, ASE, PACKAGE):
        table.add_row(f"{where}: time (ms/step)", *(f"{each.time(where):.0f}" for each in compared))
    for where in SIMULATORS:
        faster = [f"{each.time(PACKAGE) / each.time(where):.1f} x" for each in compared]
        table.add_row(f"{where}: speed-up over {PACKAGE}", *faster)
    return table


def curve_table(curves: dict[str, Curve]) -> Table:
    """Return the table of the equation of state of silicon.

    Args:
        curves: Those of LAMMPS and PACKAGE.
    """
    here, own = curves[LAMMPS], curves[PACKAGE]
    table = Table(title=f"Equation of state of silicon, {len(own.volumes)} volumes (Birch-Murnaghan)")
    table.add_column("")
    for name in (LAMMPS, PACKAGE, "difference"):
        table.add_column(name, justify="right")
    for heading, digits, found, wanted in (
        ("lattice constant (Å)", 5, here.lattice_constant, own.lattice_constant),
        ("bulk modulus (GPa)", 3, here.bulk_modulus, own.bulk_modulus),
        ("least energy (eV/atom)", 6, here.least_energy, own.least_energy),
    ):
        table.add_row(heading, f"{found:.{digits}f}", f"{wanted:.{digits}f}", f"{found - wanted:+.1e}")
    difference = float(abs(here.energies - own.energies).max())
    table.add_row("largest difference (eV/atom)", "", "", _limited(difference, LIMITS["energy"]))
    return table


def _limited(difference: float, limit: float) -> str:
    """Return a difference, in red where it is too large; NaN is."""
    return f"{difference:.1e}" if difference <= limit else f"[red]{difference:.1e}[/red]"
