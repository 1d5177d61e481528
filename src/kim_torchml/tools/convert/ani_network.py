# SPDX-License-Identifier: LGPL-2.1-or-later
"""ANI as a network of the kind edges: symmetry functions of each row's edges, and an ensemble of networks per element.

What the package torchani computes from coordinates is computed from edge vectors here. Sums of angles are exact in
both, so that the results are the same but for rounding.
"""

import math
from collections.abc import Sequence

import torch

# The package multiplies cosines by this, so that the derivative of their angle is finite.
_DAMPING = 0.95
# Å; the package divides by no product of two distances that is smaller.
_SMALLEST = 1e-10
_CELU = 0.1


class AniSymmetryFunctions(torch.nn.Module):
    """Radial and angular symmetry functions of each row.

    Edges and pairs of edges are the last dimension of what is computed for them, and what many terms need is put
    together by torch.cat before they are made of it: native code computes along the last dimension, and stores what is
    concatenated where it would compute other things once for each term. Terms themselves are rows, which add up
    fastest.

    Attributes:
        n_species: number of elements.
        n_pairs: number of unordered pairs of elements.
    """

    distances: torch.Tensor
    angular_distances: torch.Tensor
    of_cosine: torch.Tensor
    of_sine: torch.Tensor
    pair_of_species: torch.Tensor

    def __init__(
        self, cutoffs: tuple[float, float], widths: tuple[float, float], squarings: int,
        distances: torch.Tensor, angular_distances: torch.Tensor, angles: torch.Tensor, pair_of_species: torch.Tensor,
    ) -> None:  # fmt: skip
        """Keep the parameters.

        Args:
            cutoffs: Radial and angular cutoff, Å.
            widths: Coefficients of the squares of distances in the radial and the angular exponentials, 1/Å².
            squarings: How often the term of an angle is squared.
            distances: Centres of the radial functions, shape [r], Å.
            angular_distances: Centres of the angular functions, shape [a], Å.
            angles: Angles of the angular functions, shape [z].
            pair_of_species: Number of the unordered pair of two elements, shape [species, species], int64.
        """
        super().__init__()
        self.cutoff, self.angular_cutoff = cutoffs
        self.width, self.angular_width = widths
        self.squarings = squarings
        # TorchScript knows no names of this file.
        self.damping, self.smallest = _DAMPING, _SMALLEST
        self.n_species = len(pair_of_species)
        self.n_pairs = self.n_species * (self.n_species + 1) // 2
        # (1 + cos(angle - shift)) / 2 in terms of the cosine and the sine of the angle.
        exact = angles.double().unsqueeze(1)
        self.register_buffer("distances", distances.unsqueeze(1))
        self.register_buffer("angular_distances", angular_distances.unsqueeze(1))
        self.register_buffer("of_cosine", (0.5 * exact.cos()).to(angles.dtype))
        self.register_buffer("of_sine", (0.5 * exact.sin()).to(angles.dtype))
        self.register_buffer("pair_of_species", pair_of_species.flatten())

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the symmetry functions of each row, shape [n, functions]."""
        centres, of_neighbours = edge_index[0], species[edge_index[1]]
        lengths = torch.linalg.vector_norm(edge_vectors, dim=1)
        radial = self._radial(species.shape[0], centres, of_neighbours, lengths)
        # Edges of one centre must follow each other: pairs of them are made of their places in the list.
        short = torch.nonzero(lengths.detach() <= self.angular_cutoff).squeeze(1)
        short = short[torch.sort(centres[short], stable=True)[1]]
        angular = self._angular(
            species.shape[0], centres[short], of_neighbours[short], edge_vectors[short], lengths[short]
        )
        return torch.cat([radial, angular], 1)

    def _radial(
        self, n: int, centres: torch.Tensor, of_neighbours: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Return the radial functions: for each element of neighbours, those of all centres of functions."""
        # A quarter of what the paper has, as in the package.
        decay = 0.125 * torch.cos(lengths * (math.pi / self.cutoff)) + 0.125
        of_lengths = torch.exp(-self.width * (lengths - self.distances) ** 2)
        factors = torch.cat([of_lengths, decay.unsqueeze(0)]).t().contiguous()
        terms = factors[:, :-1] * factors[:, -1:]
        return summed(terms, centres * self.n_species + of_neighbours, n, self.n_species)

    def _angular(
        self, n: int, centres: torch.Tensor, of_neighbours: torch.Tensor, vectors: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Return the angular functions, of edges that are sorted by their centres."""
        first, second = pairs_of_one_centre(centres, n)
        ends = torch.stack([first, second])
        decay = 0.5 * torch.cos(lengths * (math.pi / self.angular_cutoff)) + 0.5
        directions = vectors / lengths.clamp(min=self.smallest).unsqueeze(1)
        of_edges = torch.cat([directions.t(), torch.stack([lengths, decay])])
        one, other = of_edges.index_select(1, ends[0]), of_edges.index_select(1, ends[1])
        cosines = self.damping * (one[:3] * other[:3]).sum(0)
        sines = torch.sqrt(1.0 - cosines * cosines)
        of_angles = 0.5 + (cosines * self.of_cosine + sines * self.of_sine)
        for _ in range(self.squarings):
            of_angles = of_angles * of_angles
        of_lengths = torch.exp(-self.angular_width * (0.5 * (one[3] + other[3]) - self.angular_distances) ** 2)
        of_lengths = of_lengths * (2.0 * one[4] * other[4])
        factors = torch.cat([of_angles, of_lengths]).t().contiguous()
        n_angles = self.of_cosine.shape[0]
        terms = (factors[:, n_angles:].unsqueeze(2) * factors[:, :n_angles].unsqueeze(1)).flatten(1)
        pairs = self.pair_of_species[of_neighbours[ends[0]] * self.n_species + of_neighbours[ends[1]]]
        places = torch.stack([centres[ends[0]] * self.n_pairs + pairs, ends[0]])[0]
        return summed(terms, places, n, self.n_pairs)


def summed(terms: torch.Tensor, places: torch.Tensor, n: int, kinds: int) -> torch.Tensor:
    """Return the sums of terms of each row, and in it of each kind.

    Args:
        terms: Terms of each function, shape [terms, functions].
        places: Row times the number of kinds, plus kind, of each term; shape [terms], int64.
        n: Number of rows.
        kinds: Number of kinds.
    Returns:
        Sums, shape [n, kinds x functions].
    """
    found = torch.zeros((n * kinds, terms.shape[1]), dtype=terms.dtype, device=terms.device)
    return found.index_add(0, places, terms).view(n, kinds * terms.shape[1])


def pairs_of_one_centre(centres: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all unordered pairs of edges that have one centre.

    Args:
        centres: Centre of each edge, ascending, shape [E], int64.
        n: Number of rows.
    Returns:
        Places of the first and the second edge of each pair, the first being the later one; shape [pairs] each.
    """
    counts = torch.zeros(n, dtype=torch.int64, device=centres.device).index_add(0, centres, torch.ones_like(centres))
    begin = (torch.cumsum(counts, 0) - counts)[centres]
    places = torch.arange(centres.shape[0], device=centres.device, dtype=torch.int64)
    # Each edge is the first one of as many pairs as there are edges of its centre before it.
    before = places - begin
    first = torch.repeat_interleave(places, before)
    numbers = torch.arange(first.shape[0], device=centres.device, dtype=torch.int64)
    return first, begin[first] + numbers - (torch.cumsum(before, 0) - before)[first]


class AniEnsemble(torch.nn.Module):
    """The networks of one element, one for each member of an ensemble."""

    def __init__(self, members: Sequence[Sequence[torch.nn.Linear]]) -> None:
        """Put the weights of all members together.

        Args:
            members: Layers of each member, all of the same sizes.
        """
        super().__init__()
        self.n_members = len(members)
        self.alpha = _CELU
        first, *others = zip(*members, strict=True)
        # All members have the same input: their first layers are one matrix.
        self.register_buffer("weight", torch.cat([each.weight.detach() for each in first]).t().contiguous())
        self.register_buffer("bias", torch.cat([each.bias.detach() for each in first]))
        self.layers = torch.nn.ModuleList(AniLayer(layer) for layer in others)

    weight: torch.Tensor
    bias: torch.Tensor

    def forward(self, functions: torch.Tensor) -> torch.Tensor:
        """Return the mean over members for rows of symmetry functions, shape [rows]."""
        found = torch.addmm(self.bias, functions, self.weight)
        found = found.view(functions.shape[0], self.n_members, -1).transpose(0, 1)
        for layer in self.layers:
            found = layer(torch.nn.functional.celu(found, self.alpha))
        return found.squeeze(2).mean(0)


class AniLayer(torch.nn.Module):
    """One linear layer of all members."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, members: Sequence[torch.nn.Linear]) -> None:
        """Put the weights of all members together."""
        super().__init__()
        self.register_buffer("weight", torch.stack([each.weight.detach().t() for each in members]).contiguous())
        self.register_buffer("bias", torch.stack([each.bias.detach() for each in members]).unsqueeze(1))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return what the layer gives, shape [members, rows, width]."""
        return torch.baddbmm(self.bias, given, self.weight)


class AniEdges(torch.nn.Module):
    """A network of ANI as one of the kind edges."""

    self_energies: torch.Tensor

    def __init__(
        self, functions: AniSymmetryFunctions, ensembles: Sequence[AniEnsemble], self_energies: torch.Tensor,
        unit: float,
    ) -> None:  # fmt: skip
        """Put the parts together.

        Args:
            functions: The symmetry functions.
            ensembles: Networks of each element.
            self_energies: Energy of each element that is added, shape [species], float64.
            unit: Unit of the networks' energies, eV.
        """
        super().__init__()
        self.functions = functions
        self.ensembles = torch.nn.ModuleList(ensembles)
        self.unit = unit
        self.register_buffer("self_energies", self_energies * unit)

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV, in double precision: self energies are large."""
        functions = self.functions(species, edge_index, edge_vectors)
        n = species.shape[0]
        # Each ensemble computes the rows of its element, and twice one of zeros that is left out again: matrix products
        # of a number of rows that depends on values can be compiled where that is certainly neither 0 nor 1.
        functions = torch.cat([functions, functions.new_zeros((1, functions.shape[1]))])
        left_out = torch.full((2,), 1, dtype=torch.int64, device=species.device) * n
        energies = functions.new_zeros(n + 1)
        for code, ensemble in enumerate(self.ensembles):
            rows = torch.cat([torch.nonzero(species == code).squeeze(1), left_out])
            energies = energies.index_add(0, rows, ensemble(functions.index_select(0, rows)))
        return energies[:n].double() * self.unit + self.self_energies[species]
