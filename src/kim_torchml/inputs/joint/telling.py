# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a lattice that explains the images of all ranks is the only one that does.

Between two configurations the user may have given the box other vectors. A crystal that is perfect but for a defect
deeper than images reach is explained by those of before as well, and their order may be; owners would be wrong. As in
`folding.alternatives`, images tell whose translations generate all translations of images: if none of them can have
another owner, as no other contributing particle has such surroundings, true translations generate those too.
"""

from dataclasses import dataclass

import numpy as np

from kim_torchml.inputs.folding import ParticleList
from kim_torchml.inputs.folding.alternatives import NEIGHBOURS, generators
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.joint.ranks import Ranks
from kim_torchml.inputs.joint.rows import Owners

# Of so many images of a translation that a rank has, those with the most neighbours are asked about; so many, one after
# the other, by one rank after the other, until one has one owner alone: part of the system may be a perfect crystal.
_SAMPLE, _TURNS = 8, 4
_SEED = 0


@dataclass(frozen=True)
class Places:
    """Contributing particles that one rank knows, and their images.

    Attributes:
        finder: the particles, of one species code, under a lattice; within the cutoff of the rank's own they, and their
            images, are all that is there.
        codes: their species codes, shape [m].
    """

    finder: ImageFinder
    codes: np.ndarray

    def has(self, coordinates: np.ndarray, code: int) -> np.ndarray:
        """Return at which places, shape [k, 3], a particle of a species is, shape [k], bool."""
        found = self.finder.find_place(coordinates)
        is_there: np.ndarray = (found >= 0) & (self.codes[found] == code)
        return is_there


def is_only_lattice(
    particles: ParticleList, counts: np.ndarray, moved: Owners, places: Places, cutoff: float, ranks: Ranks
) -> bool:
    """Return, on all ranks, whether no image of any can have another owner; all ranks must call this.

    Args:
        particles: This rank's particles.
        counts: Number of contributing particles of each rank, shape [ranks].
        moved: Its images that are not where their owners are.
        places: What is around its own particles.
        cutoff: Cutoff of the edges, Å.
        ranks: The ranks.
    """
    vectors = places.finder.lattice.vectors
    mine = _generating(moved.shifts, vectors)
    offered = np.concatenate(ranks.gathered(np.column_stack([mine, np.full(len(mine), ranks.rank)])))
    # Ranks whose vectors differ by rounding may choose others.
    telling = ranks.gathered(_generating(offered[:, :-1], vectors))[0]
    asked: list[dict[int, np.ndarray]] = []
    for which, shift in enumerate(telling):
        offering = np.unique(offered[_are(offered[:, :-1], shift), -1])
        # The surroundings of what a rank with few particles of its own has listed may not all be in its list.
        in_turn = offering[np.argsort(-counts[offering], kind="stable")]
        turns = [turn for turn in range(_TURNS) if in_turn[turn % len(in_turn)] == ranks.rank]
        mine_of_it = _questions(particles, moved, shift, which, cutoff) if turns else []
        asked.append(dict(zip(turns, mine_of_it, strict=False)))
    first, untold = int(counts[: ranks.rank].sum()), set(range(len(telling)))
    for turn in range(_TURNS):
        now = [each[turn] for which, each in enumerate(asked) if which in untold and turn in each]
        of_all = np.concatenate(ranks.gathered(np.array(now).reshape(-1, NEIGHBOURS + 1, 4)))
        n_alike = np.array([[_n_alike(each, particles, first, places) for each in of_all]], dtype=np.int64)
        is_told = np.sum(ranks.gathered(n_alike), axis=(0, 1)) == 0
        untold -= set(of_all[is_told, 0, 0].astype(np.int64).tolist())
        if not untold:
            break
    return not untold


def _generating(shifts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return few translations that generate all, shape [k, d], in terms of a lattice with vectors [d, 3], Å."""
    if not len(shifts):
        return shifts
    unlike = np.unique(shifts, axis=0)
    return unlike[generators(unlike, vectors)]


def _are(shifts: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return which translations [m, d] are one [d] or its inverse, which tells as much, bool [m]."""
    are: np.ndarray = (shifts == shift).all(axis=1) | (shifts == -shift).all(axis=1)
    return are


def _questions(
    particles: ParticleList, moved: Owners, shift: np.ndarray, which: int, cutoff: float
) -> list[np.ndarray]:
    """Return what is around images that have a translation or its inverse, those with most neighbours first.

    Args:
        particles: The rank's particles.
        moved: Its images that are not where their owners are.
        shift: The translation in terms of the lattice, shape [d].
        which: Its number.
        cutoff: Cutoff of the edges, Å.
    Returns:
        For each image, shape [neighbours + 1, 4]: the number of the translation, the owner, the species code, and 0;
        then vectors to neighbours, Å, the nearest first, and their species codes; NaN where there are fewer.
    """
    made = np.flatnonzero(_are(moved.shifts, shift))
    found = []
    for place in np.random.default_rng(_SEED).permutation(made)[:_SAMPLE]:
        image = moved.images[place]
        away = particles.coordinates - particles.coordinates[image]
        squared = np.einsum("ij,ij->i", away, away)
        squared[image] = np.inf
        near = np.flatnonzero(squared < particles.surely_within(cutoff) ** 2)
        near = near[np.argsort(squared[near])[:NEIGHBOURS]]
        question = np.full((NEIGHBOURS + 1, 4), np.nan)
        question[0] = which, moved.owners[place], particles.species_codes[image], 0.0
        question[1 : len(near) + 1] = np.column_stack([away[near], particles.species_codes[near]])
        found.append((len(near), question))
    most = sorted(found, key=lambda each: -each[0])
    return [question for _, question in most]


def _n_alike(question: np.ndarray, particles: ParticleList, first: int, places: Places) -> int:
    """Return how many of a rank's own particles, but for the owner, have all that is around an image.

    Args:
        question: What `_questions` gives for the image.
        particles: The rank's particles.
        first: Number of its first contributing one through all ranks.
        places: What is around its own particles.
    """
    _, owner, code, _ = question[0]
    own = particles.own
    others = own[(particles.species_codes[own] == code) & (np.arange(first, first + len(own)) != owner)]
    for *vector, species_code in question[1:]:
        if not len(others) or np.isnan(species_code):
            break
        others = others[places.has(particles.coordinates[others] + vector, int(species_code))]
    return len(others)
