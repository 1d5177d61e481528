# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks that exchange features with other ranks, and some that do so in ways that are refused."""

import torch
from torch import Tensor, nn

import kim_torchml.engines  # noqa: F401 - registers the operator


class Passing(nn.Module):
    """Three layers that pass messages, with an exchange before each."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(4)
        self.species = nn.Parameter(torch.rand(2, 5, generator=random))
        self.mix_1 = nn.Parameter(torch.rand(5, 5, generator=random) - 0.5)
        self.mix_2 = nn.Parameter(torch.rand(5, 5, generator=random) - 0.5)
        self.mix_3 = nn.Parameter(torch.rand(5, 5, generator=random) - 0.5)

    def exchanged(self, features: Tensor) -> Tensor:
        return torch.ops.kim_torchml.exchange(features)

    def layer(self, features: Tensor, mix: Tensor, edge_index: Tensor, weights: Tensor) -> Tensor:
        features = self.exchanged(features)
        received = torch.zeros_like(features).index_add(0, edge_index[0], weights * features[edge_index[1]])
        return features + torch.tanh(received @ mix)

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        weights = torch.exp(-edge_vectors.square().sum(1, keepdim=True))
        features = self.species[species]
        for mix in (self.mix_1, self.mix_2, self.mix_3):
            features = self.layer(features, mix, edge_index, weights)
        return features.sum(1)


class Frugal(Passing):
    """The same, and what is computed for each row is so for own rows alone; with a product of a matrix for each row."""

    def layer(self, features: Tensor, mix: Tensor, edge_index: Tensor, weights: Tensor) -> Tensor:
        features = self.exchanged(features)
        received = torch.zeros_like(features).index_add(0, edge_index[0], weights * features[edge_index[1]])
        own = torch.ops.kim_torchml.own_rows(received)
        matrices = mix * torch.ones_like(own).unsqueeze(2)
        updated = features[: own.shape[0]] + torch.tanh(torch.bmm(own.unsqueeze(1), matrices).squeeze(1))
        return torch.ops.kim_torchml.all_rows(updated, features.shape[0])


class Alone(Passing):
    """The same without exchanges."""

    def exchanged(self, features: Tensor) -> Tensor:
        return features


class InBranch(Passing):
    def exchanged(self, features: Tensor) -> Tensor:
        if features.sum() > 0.0:
            features = torch.ops.kim_torchml.exchange(features)
        return features


class InLoop(Passing):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.species[species]
        for _ in range(features.shape[0]):
            features = torch.ops.kim_torchml.exchange(features)
        return features.sum(1) + edge_vectors.sum()


@torch.jit.interface
class Method(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        pass


class Exchanging(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.ops.kim_torchml.exchange(features)


class ChosenAtRunTime(nn.Module):
    """Calls a method through an interface, so that the graph does not tell which."""

    method: Method

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 1))
        self.method = Exchanging()

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return self.method(self.scale[species]).sum(1) + edge_vectors.sum()


class Backward(Passing):
    def exchanged(self, features: Tensor) -> Tensor:
        return torch.ops.kim_torchml.exchange_backward(features)


class Forgetful(Passing):
    """Forgets the exchange before its last layer."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        weights = torch.exp(-edge_vectors.square().sum(1, keepdim=True))
        features = self.species[species]
        for mix in (self.mix_1, self.mix_2):
            features = self.layer(features, mix, edge_index, weights)
        received = torch.zeros_like(features).index_add(0, edge_index[0], weights * features[edge_index[1]])
        return (features + torch.tanh(received @ self.mix_3)).sum(1)


class Rounded(Passing):
    """Computes in single precision, whatever it is given, as networks of some packages do."""

    def layer(self, features: Tensor, mix: Tensor, edge_index: Tensor, weights: Tensor) -> Tensor:
        features = self.exchanged(features).to(torch.float32)
        messages = weights.to(torch.float32) * features[edge_index[1]]
        received = torch.zeros_like(features).index_add(0, edge_index[0], messages)
        return features + torch.tanh(received @ mix)


class RoundedAlone(Rounded):
    """The same without exchanges."""

    def exchanged(self, features: Tensor) -> Tensor:
        return features


class WithoutDerivative(Passing):
    """Gives derivatives that are not numbers."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        features = self.exchanged(self.species[species])
        return features.sum(1) + (0.0 * edge_vectors.sum()).sqrt()
