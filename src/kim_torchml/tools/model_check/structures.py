# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small structures of a model's species, rattled, at distances at which its atoms interact."""

import math
from dataclasses import replace

import numpy as np

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.verification.crystals import EIGHT_ATOMS, RATTLE, crystal, perfect_crystal
from kim_torchml.tools.verification.wells import lowest

_LATTICE = "diamond"
_ATOMS_PER_CELL = 8
# Distances of nearest neighbours that are tried, relative to the cutoff, falling.
_DISTANCES = np.arange(0.95, 0.19, -0.05)
_OTHERWISE = 0.5
# A box must be longer than so many cutoffs for an atom to have no two images of another one as neighbours.
_SIMPLE = 2.05
# More particles take long, and distances are kept for all pairs of them.
_MOST_PARTICLES = 800
_MOST_ATOMS = 400
_PERIODIC = ((True, True, True), (True, True, False))
WIRE = (True, False, False)


class Structures:
    """Makes structures for a model.

    Attributes:
        nearest: distance of nearest neighbours before atoms are rattled, Å.
    """

    def __init__(self, model: LoadedModel, random: np.random.Generator) -> None:
        """Find a distance at which atoms interact.

        Args:
            model: The model.
            random: Generator of all random numbers.
        """
        self._model = model
        self._random = random
        self.nearest = _nearest(model)
        self._edge = float(perfect_crystal(_LATTICE, (1, 1, 1), self.nearest, ["Si"]).cell[0, 0])

    def cluster(self) -> Structure:
        """Return atoms of which each species occurs, in a piece two cells long at least."""
        return self._crystal(max(2, self._cells_for_species()))

    def chain(self, length: float) -> Structure:
        """Return a piece of a crystal that is one cell wide and so long (Å), or as long as time allows."""
        return self._crystal(min(math.ceil(length / self._edge), _MOST_ATOMS // _ATOMS_PER_CELL))

    def wire(self) -> Structure:
        """Return a periodic chain in which no two images of an atom are neighbours of one other atom."""
        cells = max(math.ceil(_SIMPLE * self._model.inputs.cutoff / self._edge), self._cells_for_species())
        return replace(self._crystal(cells), periodic=WIRE)

    def periodic(self) -> Structure:
        """Return one cell of a crystal, periodic along as many axes as time allows."""
        few_enough = (axes for axes in _PERIODIC if self._estimate(axes) <= _MOST_PARTICLES)
        return replace(self._crystal(1), periodic=next(few_enough, WIRE))

    def _crystal(self, cells: int) -> Structure:
        return crystal(_LATTICE, (cells, 1, 1), self.nearest, self._model.species, self._random, RATTLE)

    def _cells_for_species(self) -> int:
        return math.ceil(len(self._model.species) / _ATOMS_PER_CELL)

    def _estimate(self, periodic: tuple[bool, bool, bool]) -> float:
        """Return how many particles a cell and its images have."""
        lengths = [self._edge + (2.0 * self._model.reach if repeats else 0.0) for repeats in periodic]
        return _ATOMS_PER_CELL * math.prod(lengths) / self._edge**3


def _nearest(model: LoadedModel) -> float:
    """Return the distance of least energy in a piece of a crystal, Å."""
    cutoff, limits = model.inputs.cutoff, model.description.limits
    # Rattled atoms come closer than the distance says.
    closest = 1.0 / (1.0 - 2.0 * math.sqrt(3.0) * RATTLE) * (limits.smallest_distance if limits else 0.0)
    distances = cutoff * _DISTANCES
    allowed = distances[distances >= closest]

    def energy(distance: float) -> float:
        structure = perfect_crystal(_LATTICE, EIGHT_ATOMS[_LATTICE], distance, model.species)
        particles = model.particles(replace(structure, periodic=(False, False, False)))
        return model.compute(particles, forces=False).energy / len(structure)

    if not len(allowed):
        return float(distances[0])
    return lowest(energy, allowed, max(_OTHERWISE * cutoff, float(allowed[-1])), DriverError)
