# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bond graph of CHGNet, made of edges: short bonds, their reverses, and the angles between them."""

from typing import NamedTuple

import torch

# Edges of one pair of rows that have one vector but for rounding are one edge: two images of an atom are a lattice
# vector apart, which is longer by orders of magnitude. Å.
_SAME_PLACE = 0.01


class BondGraph(NamedTuple):
    """Edges that are short enough for angles, M of them, and the A angles between those of one centre.

    Attributes:
        edges: their places among all edges, in the order of their centres, shape [M].
        centres: their centres, shape [M].
        reverses: for each edge, 1 + the place among them of the same bond seen from its other end, shape [M]; 0 where
            that is not there, as for particles at the end of what a rank knows.
        first: for each angle, the place among them of the edge that learns of it, shape [A].
        second: that of the other edge, shape [A].
    """

    edges: torch.Tensor
    centres: torch.Tensor
    reverses: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


def bond_graph(
    species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor, lengths: torch.Tensor, cutoff: float
) -> BondGraph:
    """Return the bond graph of edges.

    The package takes an edge and the reverse one, of the same image, for one bond. Here images are not known, but the
    vector says which one it is: among the edges that lead back, the reverse one has the opposite vector. So it is found
    in perfect crystals too, where many edges of one pair are equally long, and in cells whose atoms are their own
    neighbours.

    Args:
        species: Codes of the rows, shape [n].
        edge_index: Centre and neighbour of each edge, shape [2, E].
        edge_vectors: From the centre to the neighbour, shape [E, 3], Å.
        lengths: Their lengths, shape [E], Å.
        cutoff: Length below which edges form angles, Å.
    """
    short = torch.nonzero(lengths.detach() < cutoff).squeeze(1)
    short = short.index_select(0, torch.sort(edge_index[0].index_select(0, short), stable=True)[1])
    centres, neighbours = edge_index[0].index_select(0, short), edge_index[1].index_select(0, short)
    ones = torch.ones_like(centres)
    counts = torch.zeros_like(species).index_add(0, centres, ones)
    starts = torch.cumsum(counts, 0) - counts
    places = torch.cumsum(ones, 0) - 1

    # All others of the same centre, in their order, itself left out.
    first, step = _repeated(places, counts.index_select(0, centres) - 1)
    other = starts.index_select(0, centres).index_select(0, first) + step
    second = other + (other >= first).to(other.dtype)

    # Of all edges of the neighbour, the one that leads back.
    vectors = edge_vectors.detach().index_select(0, short)
    forth, step = _repeated(places, counts.index_select(0, neighbours))
    back = starts.index_select(0, neighbours).index_select(0, forth) + step
    apart = vectors.index_select(0, forth) + vectors.index_select(0, back)
    leads_back = neighbours.index_select(0, back) == centres.index_select(0, forth)
    is_reverse = leads_back & ((apart * apart).sum(1) < _SAME_PLACE**2)
    reverses = torch.zeros_like(places).index_add(0, forth, (back + 1) * is_reverse.to(back.dtype))
    # Edges of no crystal, such as those that a program is tried with, may have several.
    reverses = torch.minimum(reverses, places.shape[0] * ones)
    return BondGraph(short, centres, reverses, first, second)


def _repeated(places: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return places, each so many times in a row, and for each of these which one of its row it is, from 0 up."""
    repeated = torch.repeat_interleave(places, times)
    before = torch.cumsum(times, 0) - times
    steps = torch.cumsum(torch.ones_like(repeated), 0) - 1 - before.index_select(0, repeated)
    return repeated, steps
