# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of several ranks from step to step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs.folding import ParticleList
from kim_torchml.inputs.folding.folding import MOST_STRAIN
from kim_torchml.inputs.joint.ranks import Ranks
from kim_torchml.inputs.joint.regions import owners_in_regions, solved
from kim_torchml.inputs.joint.rows import JointRows, Owners, rows_of
from kim_torchml.inputs.joint.whole import WholeFolding


@dataclass(frozen=True)
class _Proven:
    """Rows that were proven for a rank's list, and what proves them for other coordinates.

    Attributes:
        species_codes: KIM's species codes, shape [n].
        contributing: whether each particle contributes, shape [n].
        rows: the rows.
        owned: images that have a row.
        squares: products of the shifts of all ranks' images with each other, shape [d, d].
        is_told_by_order: whether the order of all lists proves the owners.
    """

    species_codes: np.ndarray
    contributing: np.ndarray
    rows: JointRows
    owned: Owners
    squares: np.ndarray
    is_told_by_order: bool

    # What is infinite is not where it is expected.
    @np.errstate(invalid="ignore", over="ignore")
    def lattice_now(self, particles: ParticleList, ranks: Ranks) -> np.ndarray | None:
        """Return the lattice if all images of all ranks still are where it and their owners place them; else None.

        All ranks must call this.
        """
        rows, owned, own = self.rows, self.owned, particles.coordinates[particles.own]
        places = np.concatenate([own, ranks.exchanged(own[rows.given], rows.n_given, rows.n_taken)])
        translations = particles.coordinates[owned.images] - places[rows.row_of_particle[owned.images]]
        of_all = ranks.gathered((owned.shifts.T @ translations)[np.newaxis])
        lattice = solved(self.squares, np.sum(of_all, axis=(0, 1)), owned.lattice)
        off = np.abs(translations - owned.shifts @ lattice).max(initial=0.0)
        is_so = (
            particles.farthest is None
            and off < particles.tolerance
            and np.abs(lattice - owned.lattice).max(initial=0.0) < MOST_STRAIN
        )
        return lattice if ranks.all_are(bool(is_so)) else None


class JointFolding:
    """What is known from earlier configurations of one simulation of several ranks.

    Attributes:
        n_planned: how often rows were found anew.
        n_inferred: how often all ranks have put their lists together for that.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._whole = WholeFolding()
        self._proven: _Proven | None = None
        # The lattice as it was last, and how many particles the system had; None where lists have no order.
        self._lattice: np.ndarray | None = None
        self._n_of_all = 0
        self.n_planned = self.n_inferred = 0

    def forget(self) -> None:
        """Let the rows of the next configuration be found anew."""
        self._proven = None

    def rows(
        self, particles: ParticleList, cutoff: float, reached: Callable[[], np.ndarray], ranks: Ranks
    ) -> JointRows:
        """Return the rows of this rank; all ranks must call this.

        Args:
            particles: This rank's particles.
            cutoff: Cutoff of the edges, Å.
            reached: Function that returns which of them are in an edge, shape [n], bool.
            ranks: The ranks.
        Raises:
            FoldingRefusedError: If there are no proven rows.
        """
        known = self._proven
        is_known = known is not None and particles.is_list_of(known.species_codes, known.contributing)
        if ranks.all_are(is_known) and known is not None and self._holds(known, particles, cutoff, ranks):
            return known.rows
        return self._planned(particles, cutoff, reached, ranks)

    def _holds(self, known: _Proven, particles: ParticleList, cutoff: float, ranks: Ranks) -> bool:
        """Return whether rows hold for other coordinates."""
        if not known.is_told_by_order:
            return self._whole.holds(particles, cutoff, ranks)
        lattice = known.lattice_now(particles, ranks)
        if lattice is not None:
            self._lattice = lattice
        return lattice is not None

    def _planned(
        self, particles: ParticleList, cutoff: float, reached: Callable[[], np.ndarray], ranks: Ranks
    ) -> JointRows:
        """Find the rows anew."""
        self._proven = None
        self.n_planned += 1
        counts = np.concatenate(ranks.gathered(np.array([len(particles.own)])))
        lattice, owners = self._lattice, None
        # A system of other particles may have another box.
        if lattice is not None and counts.sum() == self._n_of_all:
            owners = owners_in_regions(particles, counts, lattice, cutoff, ranks)
        is_told_by_order = owners is not None
        if owners is None:
            self.n_inferred += 1
            if lattice is not None:
                self._whole.follow(lattice)
            owners = self._whole.owners(particles, counts, cutoff, reached, ranks)
            # What ranks do next depends on it; those on processors of other makes may round otherwise.
            is_told_by_order = ranks.all_are(self._whole.is_told_by_order)
        # A rank without particles of its own computes none.
        owned = owners.of((owners.owners >= 0) & (counts[ranks.rank] > 0))
        rows = rows_of(particles, owned, counts, ranks)
        squares = np.sum(ranks.gathered((owned.shifts.T @ owned.shifts)[np.newaxis]), axis=(0, 1))
        self._lattice, self._n_of_all = owners.lattice if is_told_by_order else None, int(counts.sum())
        self._proven = _Proven(
            particles.species_codes.copy(), particles.contributing.copy(), rows, owned, squares, is_told_by_order
        )
        return rows
