# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules of the kind edges that fall into what torch.export does otherwise than Python, each in one marked line."""

import torch
from torch import Tensor, nn

CUTOFF = 2.5


class Sound(nn.Module):
    """Sums smooth functions of the edges of each row, with a network behind them."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.linear = nn.Linear(4, 4, dtype=torch.float64)
        self.register_buffer("widths", torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
        for each in self.parameters():
            each.data = torch.rand(each.shape, dtype=each.dtype, generator=generator)

    def functions(self, edge_vectors: Tensor) -> Tensor:
        square = edge_vectors.square().sum(1, keepdim=True)
        return torch.exp(-square * self.widths) * (1.0 - square / 6.25).clamp(min=0.0).pow(3)

    def sums(self, n: int, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return edge_vectors.new_zeros([n, 4]).index_add(0, edge_index[0], self.functions(edge_vectors))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return self.linear(self.sums(species.shape[0], edge_index, edge_vectors)).sum(1)


class TakesLen(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        n = len(species)  # the trap
        return self.linear(self.sums(n, edge_index, edge_vectors)).sum(1)


class TakesLenLate(Sound):
    """Has names of its own for its arguments, and meets the trap after edges were found to have one number."""

    def forward(self, kinds: Tensor, pairs: Tensor, vectors: Tensor) -> Tensor:
        ones = torch.ones_like(vectors[:, 0]) * torch.ones_like(pairs[0], dtype=vectors.dtype)
        n = len(kinds)  # the trap
        return self.linear(self.sums(n, pairs, vectors * ones.unsqueeze(1))).sum(1)


class LoopsOverRows(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        energies = torch.zeros_like(features[:, 0])
        for i in range(species.shape[0]):  # the trap
            energies[i] = self.linear(features[i]).sum()
        return energies


class TellsManyRows(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        if species.shape[0] > 7:  # the trap
            features = features * 1.0
        return self.linear(features).sum(1)


class TellsNoEdges(Sound):
    """Torch takes this branch, without a word, for none that there is."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        if edge_vectors.shape[0] == 0:
            return torch.zeros(species.shape[0], dtype=edge_vectors.dtype)
        return self.linear(self.sums(species.shape[0], edge_index, edge_vectors)).sum(1)


class TellsValues(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        if bool((species > 0).any()):  # the trap
            features = features * 1.0
        return self.linear(features).sum(1)


class ChoosesRows(Sound):
    """Lets values decide sizes, which is no trap."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        energies = torch.zeros_like(features[:, 0])
        for code in range(2):
            rows = (species == code).nonzero().squeeze(1)
            energies = energies.index_add(0, rows, self.linear(features[rows]).sum(1))
        return energies


class ChoosesRowsOfSeveral(Sound):
    """Multiplies the chosen rows with several matrices at once."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        energies = torch.zeros_like(features[:, 0])
        weights = torch.stack([self.linear.weight.t(), 2.0 * self.linear.weight.t()])
        for code in range(2):
            rows = (species == code).nonzero().squeeze(1)
            twice = features[rows].unsqueeze(0).expand(2, -1, -1)
            energies = energies.index_add(0, rows, torch.bmm(twice, weights).sum((0, 2)))  # the trap
        return energies


class ChoosesTwoRowsMore(Sound):
    """Does so too, of two rows at least, as torch can tell; these count for nothing."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        features = torch.cat([features, torch.zeros_like(features[:1])])
        energies = torch.zeros_like(features[:, 0])
        weights = torch.stack([self.linear.weight.t(), 2.0 * self.linear.weight.t()])
        left_out = torch.full((2,), 1, dtype=torch.int64, device=species.device) * species.shape[0]
        for code in range(2):
            rows = torch.cat([(species == code).nonzero().squeeze(1), left_out])
            twice = features[rows].unsqueeze(0).expand(2, -1, -1)
            energies = energies.index_add(0, rows, torch.bmm(twice, weights).sum((0, 2)))
        return energies[: species.shape[0]]


class MasksRows(Sound):
    """Does so by a mask."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        energies = torch.zeros_like(features[:, 0])
        for code in range(2):
            mask = species == code
            energies[mask] = self.linear(features[mask]).sum(1)
        return energies


class SetsEntries(Sound):
    def sums(self, n: int, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        sums = edge_vectors.new_zeros([n, 4])
        sums[edge_index[0]] += self.functions(edge_vectors)  # the trap
        return sums


class HasLiteral(Sound):
    def functions(self, edge_vectors: Tensor) -> Tensor:
        square = edge_vectors.square().sum(1, keepdim=True)
        widths = torch.tensor([0.1, 0.7, 1.3, 2.9], dtype=torch.float32)  # the trap
        return torch.exp(-square * widths) * (1.0 - square / 6.25).clamp(min=0.0).pow(3)


class HasPlainLiteral(Sound):
    def functions(self, edge_vectors: Tensor) -> Tensor:
        square = edge_vectors.square().sum(1, keepdim=True)
        widths = torch.tensor([0.25, 0.5, 1.0, 3.0], dtype=torch.float32)
        return torch.exp(-square * widths) * (1.0 - square / 6.25).clamp(min=0.0).pow(3)


class UsesOtherOperators(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.sums(species.shape[0], edge_index, edge_vectors)
        polynomials = torch.polygamma(1, features + 1.0)  # the trap
        return self.linear(polynomials).sum(1)


class ChangesBuffer(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        self.widths.mul_(1.0)  # the trap
        return self.linear(self.sums(species.shape[0], edge_index, edge_vectors)).sum(1)


class LeavesTorch(Sound):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        kinds = species.numpy().max()  # the trap
        return self.linear(self.sums(species.shape[0], edge_index, edge_vectors) * float(kinds)).sum(1)
