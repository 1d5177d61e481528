# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ranks that are threads of this process, and lists of particles as ranks of a simulator have them."""

import itertools
import threading
from array import array

import numpy as np

from kim_torchml.inputs.folding import ParticleList
from kim_torchml.process.communicator import Communicator

# A rank that waits for one that does not come fails its test.
_PATIENCE = 20.0


class ThreadMpi:
    """What of mpi4py's communicators is used, for ranks that are threads; all share one table."""

    IN_PLACE, BYTE, MIN, ERRORS_RETURN, UNDEFINED = "in place", "byte", "least", "errors return", -1

    def __init__(self, rank, size, shared):
        self.rank, self.size, self._shared = rank, size, shared
        vars(self).update(
            Set_errhandler=lambda handler: None,
            Free=lambda: None,
            Allreduce=self._allreduce,
            Allgather=self._allgather,
            Allgatherv=self._allgatherv,
            Alltoallv=self._alltoallv,
            Split=self._split,
        )

    def _all(self, mine):
        barrier, table = self._shared
        table[self.rank] = mine
        barrier.wait(_PATIENCE)
        found = list(table)
        barrier.wait(_PATIENCE)
        return found

    def _allreduce(self, place, numbers, op):
        assert (place, op) == (self.IN_PLACE, self.MIN)
        numbers[:] = array("q", [min(each) for each in zip(*self._all(list(numbers)), strict=True)])

    def _allgather(self, mine, found):
        found[:] = np.concatenate(self._all(mine.copy()))

    def _allgatherv(self, given, taken):
        pieces = self._all(given[0].copy())
        assert [len(each) for each in pieces] == taken[1].tolist()
        taken[0][:] = np.concatenate(pieces)

    def _alltoallv(self, given, taken):
        rows, n_bytes, _ = given
        pieces = np.split(rows.copy(), np.cumsum(n_bytes)[:-1])
        mine = [each[self.rank] for each in self._all(pieces)]
        assert [len(each) for each in mine] == taken[1].tolist()
        taken[0][:] = np.concatenate(mine)

    def _split(self, color, key):
        assert key == self.rank
        colors = self._all(color)
        members = [rank for rank, each in enumerate(colors) if each == color]
        shared = self._all((threading.Barrier(len(members)), [None] * len(members)))[members[0]]
        return None if color == self.UNDEFINED else ThreadMpi(members.index(self.rank), len(members), shared)


def on_ranks(size, function):
    """Return what a function gives for each of several ranks, or the error that it raises, by rank."""
    shared = threading.Barrier(size), [None] * size
    found = [None] * size

    def run(rank):
        try:
            found[rank] = function(Communicator(ThreadMpi, ThreadMpi(rank, size, shared)))
        # Whatever is raised is what a test looks at.
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def decomposed(positions, codes, cell, periodic, size, reach, shuffled=False):
    """Return the list of each rank, and the atom that each particle is an image of.

    Ranks have slices of the cell along its first vector, and list what is in a frame around them, rank by rank and
    translation by translation, owners ascending, as simulators do.

    Args:
        positions: Atoms inside the cell, shape [n, 3], Å.
        codes: Their species codes, shape [n].
        cell: Shape [3, 3], Å.
        periodic: Whether the cell is repeated along each vector.
        size: Number of ranks.
        reach: How far a rank lists images beyond its own atoms, Å.
        shuffled: Whether the images are listed in any order.
    """
    inverse = np.linalg.inv(cell)
    slices = np.minimum((positions @ inverse)[:, 0] * size, size - 1).astype(np.int64)
    steps = [range(-3, 4) if each else (0,) for each in periodic]
    margins = np.where(periodic, reach * np.linalg.norm(inverse, axis=0), np.inf)
    margins[0] = reach * np.linalg.norm(inverse, axis=0)[0]
    lists, atoms = [], []
    for rank in range(size):
        own = np.flatnonzero(slices == rank)
        places, owners = [positions[own]], [own]
        low, high = np.array([rank / size, 0.0, 0.0]) - margins, np.array([(rank + 1) / size, 1.0, 1.0]) + margins
        for owner_rank, shift in itertools.product(range(size), itertools.product(*steps)):
            if owner_rank == rank and not any(shift):
                continue
            theirs = np.flatnonzero(slices == owner_rank)
            moved = positions[theirs] + np.array(shift) @ cell
            fractions = moved @ inverse
            is_listed = ((fractions >= low) & (fractions <= high)).all(axis=1)
            places.append(moved[is_listed])
            owners.append(theirs[is_listed])
        place, owner = np.concatenate(places), np.concatenate(owners)
        if shuffled:
            order = np.random.default_rng(rank).permutation(np.arange(len(own), len(place)))
            order = np.concatenate([np.arange(len(own)), order])
            place, owner = place[order], owner[order]
        lists.append(ParticleList(place, codes[owner].astype(np.int32), np.arange(len(place)) < len(own)))
        atoms.append(owner)
    return lists, atoms
