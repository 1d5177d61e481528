# SPDX-License-Identifier: LGPL-2.1-or-later
"""NVE dynamics of water in LAMMPS and with a package's own calculator, from the same start, for potentials.py."""

from dataclasses import asdict, dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from live_runs import CalculatorRun, LammpsRun, LiveRun, State
from rich.progress import track
from rich.table import Table

TEMPERATURE = 300  # K
TIMESTEP = 0.5  # fs
# Steps from one look at the energy to the next.
EVERY = 10
_DENSITY = 1.0  # g/cm³
_MOLECULES = 32

# Molecules that were put on a lattice are far from equilibrium: relaxing takes the worst away, and a strong thermostat
# what turning them sets free.
_THERMALISE = f"""\
min_style cg
min_modify dmax 0.1
minimize 0 0.1 10 20
velocity all create {TEMPERATURE} 2026 mom yes rot no
fix dynamics all nve
fix thermostat all langevin {TEMPERATURE} {TEMPERATURE} 0.02 2026 zero yes
run {{steps}}
unfix thermostat
unfix dynamics
velocity all zero linear"""


@dataclass(frozen=True)
class Drift:
    """What became of the energy.

    Attributes:
        slope: of the total energy, by least squares, meV for each atom and ps.
        change: of the total energy from the first state to the last, meV for each atom.
        scatter: standard deviation of the total energy from that line, meV for each atom.
        temperature: mean, K.
        first: temperature at the start, K.
        last: temperature at the end, K.
    """

    slope: float
    change: float
    scatter: float
    temperature: float
    first: float
    last: float


def water() -> Atoms:
    """Return water at its density: molecules on a face-centred cubic lattice, each turned at random."""
    mass = molecule("H2O").get_masses().sum() * units._amu * 1e3  # g
    edge = (_MOLECULES * mass / _DENSITY) ** (1 / 3) * 1e8  # Å
    lattice = bulk("O", "fcc", a=edge / 2, cubic=True) * (2, 2, 2)
    atoms = Atoms(cell=lattice.cell, pbc=True)
    turns = np.random.default_rng(7)
    for site in lattice.positions:
        each = molecule("H2O")
        each.euler_rotate(*turns.uniform(0.0, 360.0, 3), center="COM")
        each.positions += site - each.get_center_of_mass()
        atoms += each
    atoms.wrap()
    return atoms


def thermalise(run: LammpsRun, atoms: Atoms, steps: int) -> Atoms:
    """Relax and heat the atoms of a run that has not begun; return them as they are then."""
    run.do(_THERMALISE.format(steps=steps))
    return run.atoms(atoms)


def run_both(ours: LammpsRun, theirs: CalculatorRun, atoms: Atoms, picoseconds: float) -> dict[str, list[State]]:
    """Run NVE dynamics from the same start in both at the same time; return states, EVERY steps apart."""
    runs: tuple[LiveRun, LiveRun] = (ours, theirs)
    found = {ours.name: [ours.start()], theirs.name: [theirs.start(atoms, TIMESTEP)]}
    parts = max(1, round(1000 * picoseconds / TIMESTEP / EVERY))
    for _ in track(range(parts), f"NVE of {len(atoms)} atoms of water, {picoseconds:g} ps"):
        for each in runs:
            each.ask(EVERY)
        for each in runs:
            found[each.name].append(each.answer())
    return found


def drift_of(states: list[State], n_atoms: int) -> Drift:
    """Return what became of the energy of n atoms in states that are EVERY steps apart."""
    times = np.arange(len(states)) * EVERY * TIMESTEP / 1000  # ps
    energies = np.array([1000 * (each.total - states[0].total) / n_atoms for each in states])
    slope, start = np.polyfit(times, energies, 1)
    temperatures = [each.temperature(n_atoms) for each in states]
    return Drift(
        slope=float(slope),
        change=float(energies[-1]),
        scatter=float(np.std(energies - slope * times - start)),
        temperature=float(np.mean(temperatures)),
        first=temperatures[0],
        last=temperatures[-1],
    )


def nve_table(found: dict[str, list[State]], n_atoms: int) -> tuple[Table, dict[str, dict]]:
    """Return the table of what became of the energies, and its numbers by the names of the runs."""
    drifts = {name: drift_of(states, n_atoms) for name, states in found.items()}
    length = (len(next(iter(found.values()))) - 1) * EVERY * TIMESTEP / 1000
    table = Table(title=f"NVE of {n_atoms} atoms of water for {length:g} ps, steps of {TIMESTEP:g} fs, from one start")
    for heading in ("", "drift, meV/atom/ps", "last - first, meV/atom", "scatter", "mean T, K", "first", "last"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, each in drifts.items():
        numbers = (f"{each.slope:+.3f}", f"{each.change:+.4f}", f"{each.scatter:.4f}")
        table.add_row(
            name.replace("_", " "), *numbers, *(f"{kelvin:.0f}" for kelvin in (each.temperature, each.first, each.last))
        )
    return table, {name: asdict(each) for name, each in drifts.items()}
