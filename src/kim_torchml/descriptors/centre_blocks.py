# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pairs within the cutoff, and blocks of centres that have about the same number of neighbours and fit into memory."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from kim_torchml.descriptors.base import Neighbourhoods
from kim_torchml.errors import DriverError

# Fewest neighbours of a centre in a block, as a fraction of the most: some padding costs less than many small blocks.
_FEWEST_OF_MOST = 0.75


@dataclass(frozen=True)
class Pairs:
    """The pairs of a centre and a neighbour within the cutoff, one centre after the other.

    Attributes:
        centres: Centre of each pair, shape [p], int64.
        neighbours: Neighbour of each pair, shape [p], int64.
        counts: Number of neighbours of each centre, shape [m], int64.
    """

    centres: torch.Tensor
    neighbours: torch.Tensor
    counts: torch.Tensor


@dataclass(frozen=True)
class Block:
    """Some centres with all their pairs.

    Attributes:
        rows: Rows of the centres in the descriptor, shape [c], int64.
        pairs: Indices of their pairs in `Pairs`, shape [c, k], int64; 0 where `present` is false.
        present: False where a row is padded because its centre has fewer than k neighbours, shape [c, k], bool.
    """

    rows: torch.Tensor
    pairs: torch.Tensor
    present: torch.Tensor


def find_pairs(neighbourhoods: Neighbourhoods, cutoffs: torch.Tensor) -> Pairs:
    """Return the pairs that are closer to each other than the cutoff of their species.

    Args:
        neighbourhoods: The surroundings of m particles.
        cutoffs: Cutoffs of pairs of species, shape [n_species, n_species], dtype and device of the coordinates, Å.
    Raises:
        DriverError: If a centre and its neighbour are at the same place.
    """
    neighbours, counts = neighbourhoods.neighbours, neighbourhoods.counts
    row = torch.arange(len(counts), dtype=torch.int64, device=counts.device)
    row_of_pair = row.repeat_interleave(counts, output_size=len(neighbours))
    centres = neighbourhoods.centres.index_select(0, row_of_pair)
    coordinates, codes = neighbourhoods.coordinates.detach(), neighbourhoods.species_codes
    vectors = coordinates.index_select(0, neighbours) - coordinates.index_select(0, centres)
    squares = vectors.square().sum(dim=1)
    if bool((squares == 0.0).any()):
        pair = int((squares == 0.0).nonzero()[0])
        raise _same_place(neighbourhoods, int(centres[pair]), int(neighbours[pair]))
    limits = cutoffs[0] if len(cutoffs) == 1 else cutoffs[codes[centres], codes[neighbours]]
    # A NaN makes this comparison false, so the pair stays and the NaN shows in the result.
    near = ~(squares >= limits.square())
    counts_near = torch.zeros_like(counts).index_add_(0, row_of_pair, near.long())
    return Pairs(centres[near], neighbours[near], counts_near)


def _same_place(neighbourhoods: Neighbourhoods, first: int, second: int) -> DriverError:
    place = ", ".join(f"{x:.6g}" for x in neighbourhoods.coordinates[first].tolist())
    return DriverError(
        f"particles {first} and {second} (counted from 0) are at the same place, ({place}) Å, where the descriptor is "
        "not defined; move or remove one of them"
    )


def make_blocks(counts: torch.Tensor, cost: Callable[[int], float], budget: float) -> list[Block]:
    """Divide centres into blocks with like numbers of neighbours.

    Args:
        counts: Number of neighbours of each centre, shape [m], int64.
        cost: Function that returns the cost of one centre in a block where each centre has so many neighbours.
        budget: Largest cost of all centres of a block together; a block of a single centre may cost more.
    Returns:
        Blocks in which each centre that has neighbours is held once.
    """
    order = counts.argsort(descending=True, stable=True)
    starts = counts.cumsum(0) - counts
    waiting = torch.bincount(counts).tolist()
    blocks: list[Block] = []
    begin = 0
    for most in range(len(waiting) - 1, 0, -1):
        while waiting[most]:
            n_centres = _take(waiting, most, max(1, int(budget / cost(most))))
            rows = order[begin : begin + n_centres]
            place = torch.arange(most, dtype=torch.int64, device=counts.device)
            present = place < counts[rows, None]
            blocks.append(Block(rows, torch.where(present, starts[rows, None] + place, 0), present))
            begin += n_centres
    return blocks


def _take(waiting: list[int], most: int, room: int) -> int:
    """Take centres for a block and return their number.

    Args:
        waiting: Number of centres not yet in a block, by their number of neighbours; is reduced by those taken.
        most: Number of neighbours that the block has places for.
        room: Largest number of centres.
    """
    taken = 0
    for count in range(most, max(1, int(_FEWEST_OF_MOST * most)) - 1, -1):
        fits = min(waiting[count], room - taken)
        waiting[count] -= fits
        taken += fits
    return taken
