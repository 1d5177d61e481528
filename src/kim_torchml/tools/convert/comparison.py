# SPDX-License-Identifier: LGPL-2.1-or-later
"""A converted model beside the calculator of the package that its network comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms

from kim_torchml.errors import DriverError
from kim_torchml.inputs import EdgeInputs
from kim_torchml.tools.convert.default_dtype import default_dtype
from kim_torchml.tools.convert.family import Closeness
from kim_torchml.tools.convert.reference_structures import reference_structures
from kim_torchml.tools.kim_host.particles import particles_of
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.loaded_model import LoadedModel, folded


class Reference(Protocol):
    """What a model is compared with: a family's network, or the folder that it was exported to."""

    @property
    def calculator(self) -> Callable[[], Any]:
        """Makes a calculator for ASE."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating type that the calculator computes in."""

    @property
    def closeness(self) -> Closeness:
        """How close to it the model must be."""


@dataclass(frozen=True)
class Difference:
    """How far a model is from the package's own calculator for one configuration.

    Attributes:
        name: name of the configuration.
        n_atoms: number of atoms.
        energy: difference of the energy, eV for each atom.
        force: greatest difference of a component of a force, eV/Å.
        stress: greatest difference of a component of the stress, eV/Å³; None where there is no volume.
        largest: largest energy for each atom, component of a force and of the stress of the calculator.
    """

    name: str
    n_atoms: int
    energy: float
    force: float
    stress: float | None
    largest: Closeness

    def excess(self, allowed: Closeness) -> str:
        """Return which difference is larger than it may be; empty if none is."""
        for what, unit in (("energy", "eV/atom"), ("force", "eV/Å"), ("stress", "eV/Å³")):
            found = getattr(self, what)
            limit = getattr(allowed, what) * max(1.0, getattr(self.largest, what))
            # NaN is no small difference either.
            if found is not None and not found <= limit:
                return f"the {what} of {self.name} differs by {found:.1e} {unit} (allowed: {limit:.0e})"
        return ""


def compare(model: LoadedModel, reference: Reference, progress: LateProgress) -> tuple[Difference, ...]:
    """Return how far a model is from the package's own calculator, or from the folder that it was made of.

    Args:
        model: The model, as the driver loads it.
        reference: What it was made of.
        progress: What to tell how far this is.
    Raises:
        DriverError: If a difference is larger than rounding makes it.
    """
    structures = reference_structures(model.species)
    calculator = reference.calculator()
    found = []
    for index, (name, several) in enumerate(structures.items()):
        progress(f"beside what it was made of: {name}", 0.85 + 0.15 * index / len(structures))
        of_all = [_difference(name, atoms, model, calculator, reference.dtype) for atoms in several]
        found.append(_greatest(of_all))
        if excess := next(filter(None, (each.excess(reference.closeness) for each in of_all)), ""):
            raise DriverError(
                f"the model must give what {type(calculator).__name__} gives, but {excess}; nothing was written. "
                "Report this, with the versions of the packages"
            )
    return tuple(found)


def _greatest(differences: Sequence[Difference]) -> Difference:
    """Return the greatest differences of several configurations of one name and one number of atoms."""
    first, *_ = differences
    energy, force = (max(getattr(each, what) for each in differences) for what in ("energy", "force"))
    return replace(first, energy=energy, force=force)


def _difference(name: str, atoms: Atoms, model: LoadedModel, calculator: Any, dtype: torch.dtype) -> Difference:
    # What a simulator leaves as it is: a model must not depend on it.
    with default_dtype(torch.float32):
        energy, forces, stress = results_of(model, atoms)
    with default_dtype(dtype):
        own = atoms.copy()
        own.calc = calculator
        wanted_energy, wanted_forces = float(own.get_potential_energy()), np.asarray(own.get_forces(), dtype=float)
        wanted_stress = None if stress is None else np.asarray(own.get_stress(), dtype=float)
    n = len(atoms)
    of_stress = None if stress is None or wanted_stress is None else _largest(stress - wanted_stress)
    largest = Closeness(abs(wanted_energy) / n, _largest(wanted_forces), _largest(wanted_stress))
    return Difference(name, n, abs(energy - wanted_energy) / n, _largest(forces - wanted_forces), of_stress, largest)


def _largest(values: Floats | None) -> float:
    return 0.0 if values is None else float(np.abs(values).max())


def results_of(model: LoadedModel, atoms: Atoms) -> tuple[float, Floats, Floats | None]:
    """Return energy (eV), forces (eV/Å) and, of a periodic crystal, the stress (eV/Å³), Voigt order.

    Raises:
        DriverError: If the model fails, or gives no forces.
    """
    builder = model.inputs
    if isinstance(builder, EdgeInputs) and builder.n_layers > 1:
        # Images as rows of their own would take gigabytes for a network of five layers.
        builder = builder.folded()
    codes = {symbol: code for code, symbol in enumerate(model.species)}
    first, second, third = (bool(each) for each in atoms.pbc)
    symbols = tuple(atoms.get_chemical_symbols())
    structure = Structure(symbols, atoms.positions, atoms.cell.array, (first, second, third))
    particles = particles_of(structure, codes, builder.influence_distance)
    computed = model.compute(particles, inputs=builder, virial=True)
    if computed.forces is None or computed.virial is None:
        raise DriverError("a converted model must give forces, got none: its energy does not depend on coordinates")
    stress = computed.virial / atoms.get_volume() if all(structure.periodic) else None
    return computed.energy, folded(particles, computed.forces), stress


def table_of(differences: Sequence[Difference]) -> list[str]:
    """Return a table for people, a line each, aligned; it is Markdown too."""
    head = ("configuration", "atoms", "energy, eV/atom", "forces, eV/Å", "stress, eV/Å³")
    rows = [head, *(_cells(each) for each in differences)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join(["", f"{'-' * (widths[0] + 2)}", *(f"{'-' * (width + 1)}:" for width in widths[1:]), ""])
    return [lines[0], rule, *lines[1:]]


def _cells(found: Difference) -> tuple[str, ...]:
    stress = "-" if found.stress is None else f"{found.stress:.1e}"
    return found.name, str(found.n_atoms), f"{found.energy:.1e}", f"{found.force:.1e}", stress


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    aligned = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    return f"| {' | '.join(aligned)} |"
