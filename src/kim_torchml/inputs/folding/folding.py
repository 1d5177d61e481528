# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folding from step to step: what was proven for one configuration is proven again for the next in one pass."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kim_torchml.inputs.folding.completeness import all_shifts, missing_image, spread
from kim_torchml.inputs.folding.errors import FoldingRefusedError, MissingImageError
from kim_torchml.inputs.folding.frames import framing_cell
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.inference import Known, fitted_vectors, infer
from kim_torchml.inputs.folding.lattice import Lattice
from kim_torchml.inputs.folding.list_order import mapping_of
from kim_torchml.inputs.folding.proof import prove_without_order
from kim_torchml.inputs.folding.rows import ParticleList, Rows
from kim_torchml.inputs.folding.uniqueness import are_symmetries

# Cells over which contributing particles may be spread before images may be missing, which is then looked at; again
# where they have spread by as many cells more.
_SPREAD = 1.0
_MORE_SPREAD = 0.25
# Å that a vector of the lattice may have moved since it was inferred: beyond that it is inferred anew.
MOST_STRAIN = 0.05


@dataclass(frozen=True)
class _Proven:
    """Rows that were proven for a list of particles, and what proves them for other coordinates.

    Attributes:
        species_codes: KIM's species codes, shape [n].
        contributing: whether each particle contributes, shape [n].
        rows: the rows.
        images: images with an owner: a slice where these are the last particles, else shape [m].
        owners: owner of each, shape [m].
        shifts: translation of each in terms of the lattice, shape [m, d], float64.
        fit: matrix that gives the lattice's vectors from translations, shape [d, m].
        is_ordered: whether the order of the list proves the owners.
    """

    species_codes: np.ndarray
    contributing: np.ndarray
    rows: Rows
    images: slice | np.ndarray
    owners: np.ndarray
    shifts: np.ndarray
    fit: np.ndarray | None
    is_ordered: bool


class Folding:
    """What is known from earlier configurations of one simulation.

    Attributes:
        n_inferred: number of inferences so far.
        is_given_up: whether there were no proven rows, and rows of images are taken from then on.
    """

    def __init__(self, warn: Callable[[str], None] | None = None) -> None:
        """Begin with nothing.

        Args:
            warn: What to do with a sentence about a list that lacks images.
        """
        self._warn = warn
        self._spread = _SPREAD
        self._is_edgeless_looked_at = False
        self._proven: _Proven | None = None
        self._known: Known | None = None
        self.n_inferred = 0
        self.is_given_up = False

    def rows(self, particles: ParticleList, cutoff: float, reached: Callable[[], np.ndarray]) -> Rows:
        """Return the row of every particle of a configuration.

        Args:
            particles: The configuration.
            cutoff: Cutoff of the edges, Å.
            reached: Function that returns which particles are in an edge, shape [n], bool; it is called where owners
                are inferred.
        Raises:
            FoldingRefusedError: If there are no proven rows.
        """
        rows = self.rows_again(particles, cutoff)
        return self.rows_anew(particles, cutoff, reached()) if rows is None else rows

    def rows_anew(self, particles: ParticleList, cutoff: float, reached: np.ndarray) -> Rows:
        """Infer the rows of a configuration.

        Args:
            particles: The configuration.
            cutoff: Cutoff of the edges, Å.
            reached: Particles in an edge, shape [n], bool.
        Raises:
            FoldingRefusedError: If there are no proven rows.
        """
        self._proven = None
        self.n_inferred += 1
        rows = infer(particles, cutoff, reached, self._known)
        self._keep(particles, rows)
        self._look_for_atoms_outside(particles, rows, cutoff)
        return rows

    @property
    def is_told_by_order(self) -> bool:
        """Whether the order of the list, and no symmetry, proves the owners that were found last."""
        known = self._proven
        return known is not None and known.is_ordered and not len(known.rows.symmetries)

    def follow(self, lattice: np.ndarray) -> None:
        """Take the lattice to be strained to these vectors, shape [d, 3], Å, where others have followed it."""
        if self._known is not None:
            self._known = replace(self._known, lattice=lattice)

    def forget(self) -> None:
        """Let the next configuration's owners be inferred, with the lattice tried first that is known."""
        self._proven = None

    def _keep(self, particles: ParticleList, rows: Rows) -> None:
        mapping = mapping_of(particles, rows)
        mapped, shifts = mapping.images, mapping.shifts.astype(np.float64)
        n = len(particles)
        are_last = bool(len(mapped)) and mapped[0] == n - len(mapped)
        self._proven = _Proven(
            particles.species_codes.copy(),
            particles.contributing.copy(),
            rows,
            slice(n - len(mapped), n) if are_last else mapped,
            mapping.owners,
            shifts,
            fitted_vectors(shifts),
            mapping.tells_owners(rows.n_own),
        )
        self._known = Known(rows.lattice, self._proven.is_ordered, self._cell(particles, rows))

    def _cell(self, particles: ParticleList, rows: Rows) -> np.ndarray | None:
        """Return the cell in which a list is a frame, if its lattice is the only one whatever the coordinates."""
        # What several ranks list together is no frame.
        if len(rows.symmetries) or particles.parts is not None:
            return None
        known = self._known
        is_as_it_was = (
            known is not None
            and known.lattice.shape == rows.lattice.shape
            and np.abs(known.lattice - rows.lattice).max(initial=0.0) < MOST_STRAIN
        )
        if known is not None and known.cell is not None and is_as_it_was:
            return known.cell
        return framing_cell(particles, rows.lattice)

    def _look_for_atoms_outside(self, particles: ParticleList, rows: Rows, cutoff: float) -> None:
        """Warn where atoms are so far outside the cell that the simulator has not listed all images."""
        if self._warn is None or particles.parts is not None:
            return
        if not len(rows.lattice):
            rows = self._rows_without_edges(particles, cutoff) or rows
        cells = spread(particles, rows)
        if cells < self._spread:
            return
        self._spread = cells + _MORE_SPREAD
        shifts = all_shifts(particles, rows, cutoff)
        missing = None if shifts is None else missing_image(particles, rows, cutoff, shifts)
        if missing is not None:
            # Once is enough, however far the atoms go.
            self._spread = math.inf
            self._warn(
                f"the simulator's list of particles lacks the image of particle {missing.owner} that is "
                f"{missing.distance:.6g} Å from particle {missing.near}, as the contributing particles are spread over "
                f"{cells:.1f} cells; energies and forces are wrong: move the atoms into the cell (in "
                "ASE, atoms.wrap())"
            )

    def _rows_without_edges(self, particles: ParticleList, cutoff: float) -> Rows | None:
        """Return the rows of the first list whose images have no edge: that may be because others are missing."""
        if self._is_edgeless_looked_at or not len(particles.images):
            return None
        self._is_edgeless_looked_at = True
        try:
            return infer(particles, cutoff)
        except MissingImageError as error:
            return error.rows
        except FoldingRefusedError:
            # No edge needs these images, so that nothing depends on what they are.
            return None

    def rows_again(self, particles: ParticleList, cutoff: float) -> Rows | None:
        """Return the rows if they hold for these particles, with the lattice as it is now; else None."""
        known = self._proven
        if known is None or not particles.is_list_of(known.species_codes, known.contributing):
            return None
        if not len(known.owners):
            return known.rows
        if particles.farthest is not None:
            return None
        translations = particles.coordinates[known.images] - particles.coordinates[known.owners]
        lattice = known.rows.lattice if known.fit is None else known.fit @ translations
        difference = translations - known.shifts @ lattice
        if not np.abs(difference).max() < particles.tolerance:
            return None
        if not np.abs(lattice - known.rows.lattice).max(initial=0.0) < MOST_STRAIN:
            return None
        rows = replace(known.rows, lattice=lattice)
        if not _is_only_explanation(particles, rows, cutoff, known.is_ordered):
            return None
        assert self._known is not None
        self._known = replace(self._known, lattice=lattice)
        return rows


def _is_only_explanation(particles: ParticleList, rows: Rows, cutoff: float, is_ordered: bool) -> bool:
    """Return whether rows that explain all images are the only ones that do.

    A list without an order proves nothing by itself: the next configuration may have two explanations.
    """
    if is_ordered:
        places = ImageFinder(particles.places, Lattice(rows.lattice)) if len(rows.symmetries) else None
        return places is None or are_symmetries(particles, places, rows.symmetries)
    try:
        prove_without_order(particles, rows, cutoff)
    except FoldingRefusedError:
        return False
    return True
