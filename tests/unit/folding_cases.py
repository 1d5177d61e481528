# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalogue of configurations whose owners are known, by name, and whether each may be refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from folding_structures import Structure, crystal, primitive, water
from paddings import Padded, ase, lammps, sorted_by_bins, wrapped

SKIN = 2.0  # Å, of LAMMPS with units metal


@dataclass(frozen=True)
class Case:
    """A configuration.

    Attributes:
        name: What it is.
        make: Returns the list of particles.
        cutoff: Cutoff of the model, Å: particles farther away from all contributing ones need no owner.
        may_be_refused: Whether its owners cannot be told: a perfect crystal in a list without order.
    """

    name: str
    make: Callable[[], Padded]
    cutoff: float
    may_be_refused: bool


def _silicon(*repeats):
    return crystal("diamond", *repeats)


# Name, structure and cutoff in Å. Where a defect is deeper than the halo, half of the box is longer than cutoff and
# skin.
STRUCTURES: dict[str, tuple[Callable[[], Structure], float]] = {
    "displaced": (lambda: _silicon(4, 4, 4).displaced(0.05), 5.0),
    "displaced, 1440 atoms": (lambda: _silicon(5, 6, 6).displaced(0.05), 5.0),
    "displaced little": (lambda: _silicon(3, 3, 3).displaced(1e-3), 5.0),
    "liquid": (lambda: crystal("fcc", 4, 4, 4).displaced(0.6), 6.0),
    "perfect": (lambda: _silicon(3, 3, 3), 5.0),
    "perfect fcc": (lambda: crystal("fcc", 4, 3, 5), 6.0),
    "perfect bcc": (lambda: crystal("bcc", 4, 4, 4), 5.0),
    "perfect simple cubic": (lambda: crystal("simple cubic", 5, 4, 3), 5.0),
    "perfect NaCl": (lambda: crystal("NaCl", 2, 3, 2), 5.0),
    "perfect, vacancy within the halo": (lambda: _silicon(2, 2, 2).with_vacancy(), 6.0),
    "perfect, vacancy deeper than the halo": (lambda: _silicon(4, 4, 4).with_vacancy(), 5.0),
    "perfect, foreign atom within the halo": (lambda: _silicon(2, 2, 2).with_foreign(), 6.0),
    "perfect, foreign atom deeper than the halo": (lambda: _silicon(4, 4, 4).with_foreign(), 5.0),
    "perfect fcc, foreign atom deeper than the halo": (lambda: crystal("fcc", 6, 6, 6).with_foreign(), 4.0),
    "random species on a perfect lattice": (lambda: _silicon(3, 3, 3).with_random_species(), 5.0),
    "two random species on a perfect lattice": (lambda: crystal("fcc", 4, 4, 4).with_random_species(2), 5.0),
    "triclinic, displaced": (lambda: _silicon(3, 3, 3).sheared(0.21, -0.13, 0.17).displaced(0.05), 5.0),
    "triclinic, perfect": (lambda: _silicon(3, 3, 3).sheared(0.21, -0.13, 0.17), 5.0),
    "triclinic, foreign atom": (lambda: _silicon(4, 4, 4).sheared(0.1, 0.05, -0.07).with_foreign(), 4.0),
    "very skewed, displaced": (lambda: _silicon(2, 2, 2).sheared(0.9, -0.8, 0.7).displaced(0.05), 5.0),
    "tilt of a whole box, displaced": (lambda: _silicon(3, 3, 3).displaced(0.05).tilted(1.0, 0.0, 0.0), 5.0),
    "tilts of whole boxes, perfect": (lambda: _silicon(3, 3, 3).tilted(1.0, -1.0, 1.0), 5.0),
    "tilt of half a box, displaced": (lambda: _silicon(4, 2, 3).displaced(0.05).tilted(0.5, 0.0, 0.0), 5.0),
    "tilts of half boxes, perfect": (lambda: _silicon(4, 4, 2).tilted(0.5, 0.5, -0.5), 5.0),
    "fault at a face of the box, foreign atom": (
        lambda: crystal("fcc", 3, 3, 4).with_foreign().tilted(0.0, 1.0, 0.25),
        3.83,
    ),
    "fault at a face of the box, diamond": (lambda: _silicon(4, 4, 4).with_foreign().tilted(0.0, 1.0, 0.25), 3.83),
    "slab, displaced": (lambda: _silicon(3, 3, 2).displaced(0.05).bounded(True, True, False), 5.0),
    "slab, perfect": (lambda: _silicon(3, 2, 3).bounded(True, False, True), 5.0),
    "slab, foreign atom": (lambda: _silicon(4, 4, 3).with_foreign().bounded(True, True, False), 5.0),
    "slab, triclinic": (lambda: _silicon(3, 3, 2).sheared(0.3, 0, 0).displaced(0.05).bounded(True, True, False), 5.0),
    "wire, displaced": (lambda: _silicon(2, 2, 4).displaced(0.05).bounded(False, False, True), 5.0),
    "wire, perfect": (lambda: _silicon(4, 2, 2).bounded(True, False, False), 5.0),
    "wire of one cell": (lambda: _silicon(2, 1, 2).displaced(0.05).bounded(False, True, False), 6.0),
    "cluster": (lambda: _silicon(2, 2, 2).displaced(0.05).bounded(False, False, False), 5.0),
    "wire tilted by a whole box, perfect": (
        lambda: crystal("fcc", 4, 2, 4).tilted(0.0, -1.0, 0.0).bounded(False, False, True),
        5.68,
    ),
    "small cluster": (lambda: _silicon(1, 1, 1).bounded(False, False, False), 5.0),
    "images without edges": (lambda: crystal("simple cubic", 3, 1, 3).displaced(0.05), 2.5),
    "box smaller than the cutoff, displaced": (lambda: _silicon(1, 1, 1).displaced(0.05), 6.0),
    "box smaller than the cutoff, perfect": (lambda: _silicon(1, 1, 1), 7.0),
    "box much smaller than the cutoff": (lambda: crystal("CsCl", 1, 1, 1).displaced(0.1), 12.0),
    "flat box": (lambda: crystal("fcc", 5, 5, 1).displaced(0.05), 6.0),
    "one atom, cubic": (lambda: crystal("simple cubic", 1, 1, 1), 5.0),
    "one atom, triclinic": (lambda: primitive("fcc"), 6.0),
    "two atoms, triclinic": (lambda: primitive("diamond"), 5.0),
    "two atoms, displaced": (lambda: primitive("diamond").displaced(0.05), 5.0),
    "two atoms, cubic": (lambda: crystal("bcc", 1, 1, 1), 5.0),
    "two species, two atoms": (lambda: crystal("CsCl", 1, 1, 1), 6.0),
    "molecules, perfect": (lambda: water(5), 4.5),
    "molecules, parallel": (lambda: water(6, displaced=0.2), 4.5),
    "molecules, turned": (lambda: water(6, displaced=0.2, turned=True), 4.5),
    "molecules, two": (lambda: water(2, displaced=0.1), 5.0),
    "far, displaced": (lambda: _silicon(3, 3, 3).displaced(0.05).far(), 5.0),
    "far, perfect": (lambda: _silicon(3, 3, 3).far(), 5.0),
    "far, triclinic, foreign atom": (lambda: _silicon(4, 4, 4).sheared(0.1, 0, 0.05).with_foreign().far(), 4.0),
    "far, molecules": (lambda: water(4, displaced=0.2, turned=True).far(), 4.5),
}
# Of these, each is also made with noise.
_NOISY = (
    "displaced",
    "perfect",
    "perfect, foreign atom deeper than the halo",
    "triclinic, displaced",
    "far, displaced",
    "molecules, parallel",
    "slab, perfect",
)
# And each of these also in other orders, with atoms outside the box, and strained.
_VARIED = (
    "displaced",
    "perfect",
    "perfect, foreign atom deeper than the halo",
    "random species on a perfect lattice",
    "triclinic, displaced",
    "tilts of half boxes, perfect",
    "slab, perfect",
    "molecules, turned",
)


def _random(name):
    """Return random numbers of a case: the same in every run."""
    return np.random.default_rng(list(name.encode()))


def padded(structure: Structure, simulator: str, cutoff: float) -> Padded:
    """Return a structure as a simulator hands it over; LAMMPS with a skin, ASE without."""
    box = (structure.species_codes, structure.cell)
    if simulator == "LAMMPS":
        return lammps(structure.coordinates, *box, cutoff + SKIN, structure.periodic, structure.origin)
    inside = wrapped(structure.coordinates, structure.cell, structure.periodic, structure.origin)
    return ase(inside, *box, cutoff, structure.periodic)


def _made(build, simulator, cutoff):
    return padded(build(), simulator, cutoff)


def _arranged(make, arrangement, name):
    found, random = make(), _random(name)
    if arrangement == "shuffled":
        return found.shuffled(random)
    return found.interleaved(random) if arrangement == "interleaved" else found


def _with_noise(make, relative, name):
    return make().noisy(relative, _random(name))


def _other_order(structure, order):
    return replace(structure, coordinates=structure.coordinates[order], species_codes=structure.species_codes[order])


def _sorted_at_random(structure, name):
    return _other_order(structure, _random(name).permutation(len(structure)))


def _sorted_by_bins(structure, cutoff):
    return _other_order(structure, sorted_by_bins(structure.coordinates, structure.cell, 0.5 * (cutoff + SKIN)))


def _drifted(structure, cutoff, name):
    """Return the list of LAMMPS as it is when each atom has moved by up to half of the skin since it was made."""
    made = padded(structure, "LAMMPS", cutoff)
    return made.moved(_random(name).uniform(-0.5, 0.5, (len(made.own), 3)))


def _outside(structure, cutoff, cells, name):
    """Return the list of ASE, whose atoms may lie outside the cell by so many cells in the periodic directions."""
    fractional = _random(name).uniform(-cells, cells, (len(structure), 3)) * structure.periodic
    whole = np.round(fractional) @ structure.cell
    return ase(structure.coordinates + whole, structure.species_codes, structure.cell, cutoff, structure.periodic)


def _strained(structure, cutoff, simulator):
    strain = np.array([[0.01, 0.0, 0.0], [0.004, -0.02, 0.0], [-0.003, 0.006, 0.005]])
    return padded(structure, simulator, cutoff).strained(strain)


def _catalogue():
    for number, (name, (build, cutoff)) in enumerate(STRUCTURES.items()):
        is_perfect = build().is_perfect
        # Lists without an order take long, and that of one simulator is much like another's: they come in turn.
        shuffled_of = ("LAMMPS", "ASE")[number % 2]
        for simulator in ("LAMMPS", "ASE"):
            make = partial(_made, build, simulator, cutoff)
            arrangements = ("listed", "interleaved", "shuffled")
            for arrangement in arrangements if simulator == shuffled_of else arrangements[:2]:
                full = f"{name}; {simulator}, {arrangement}"
                refusable = is_perfect and arrangement == "shuffled"
                yield Case(full, partial(_arranged, make, arrangement, full), cutoff, refusable)
            for relative in (1e-12, 1e-11, 1e-10, 1e-9) if name in _NOISY else ():
                full = f"{name}; {simulator}, noise of {relative:.0e}"
                yield Case(full, partial(_with_noise, make, relative, full), cutoff, False)
        if name in _VARIED:
            yield from _variants(name, build, cutoff)


def _variants(name, build, cutoff):
    makers = {
        "LAMMPS, atoms in random order": lambda full: padded(_sorted_at_random(build(), full), "LAMMPS", cutoff),
        "LAMMPS, atoms sorted by bins": lambda full: padded(_sorted_by_bins(build(), cutoff), "LAMMPS", cutoff),
        "LAMMPS, drift": lambda full: _drifted(build(), cutoff, full),
        "ASE, atoms in random order": lambda full: padded(_sorted_at_random(build(), full), "ASE", cutoff),
        "ASE, atoms a cell outside": lambda full: _outside(build(), cutoff, 1.0, full),
        "ASE, atoms two cells outside": lambda full: _outside(build(), cutoff, 2.0, full),
        "LAMMPS, strained": lambda full: _strained(build(), cutoff, "LAMMPS"),
        "ASE, strained": lambda full: _strained(build(), cutoff, "ASE"),
    }
    for variant, make in makers.items():
        full = f"{name}; {variant}"
        yield Case(full, partial(make, full), cutoff, False)


CASES = {case.name: case for case in _catalogue()}
