# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks that exchange features, and fail at one place where there is much germanium: on one of several ranks."""

import tiny_models as tiny
import torch
from ase import Atoms
from ase.build import bulk
from kim_collection import PortableModel
from torch import Tensor, nn


class _Failing(tiny.ExchangedLayers):
    """The layers of ExchangedLayers, between which these networks fail."""

    def __init__(self) -> None:
        super().__init__()
        # There are fewer rows of germanium in the driver's probes, and on a rank that has silicon.
        self.much = 40
        # So many numbers fit into no memory.
        self.huge = 2**45

    def has_much_germanium(self, species: Tensor) -> bool:
        return int((species == 1).sum()) > self.much

    def before(self, species: Tensor, features: Tensor) -> Tensor:
        return features

    def between(self, species: Tensor, features: Tensor) -> Tensor:
        return features

    def after(self, species: Tensor, features: Tensor) -> Tensor:
        return features

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        bonds = tiny.fade(edge_vectors.square().sum(1), self.cutoff)
        features = self.before(species, 1.0 + 0.5 * species.to(edge_vectors.dtype))
        features = self.layer(features, edge_index, bonds)
        features = self.layer(torch.ops.kim_torchml.exchange(features), edge_index, bonds)
        features = self.between(species, features)
        features = self.layer(torch.ops.kim_torchml.exchange(features), edge_index, bonds)
        return self.after(species, features)


class RaisesBefore(_Failing):
    def before(self, species: Tensor, features: Tensor) -> Tensor:
        if self.has_much_germanium(species):
            raise ValueError("before all exchanges")
        return features


class RaisesBetween(_Failing):
    def between(self, species: Tensor, features: Tensor) -> Tensor:
        if self.has_much_germanium(species):
            raise ValueError("between two exchanges")
        return features


class RaisesAfter(_Failing):
    def after(self, species: Tensor, features: Tensor) -> Tensor:
        if self.has_much_germanium(species):
            raise ValueError("after all exchanges")
        return features


class NotANumber(_Failing):
    def after(self, species: Tensor, features: Tensor) -> Tensor:
        return features * float("nan") if self.has_much_germanium(species) else features


class InfiniteForces(_Failing):
    """A network whose energies are finite, while their derivatives by features of other ranks' particles are not."""

    def between(self, species: Tensor, features: Tensor) -> Tensor:
        if self.has_much_germanium(species):
            features = features + torch.sqrt(features - features.detach())
        return features


class NeedsMemory(_Failing):
    def between(self, species: Tensor, features: Tensor) -> Tensor:
        n = self.huge if self.has_much_germanium(species) else 1
        return features + torch.zeros(n, dtype=torch.float64)[0]


class NeedsMemoryBackwards(_Failing):
    """A network that needs no memory in its forward pass: the derivative of one of many views takes that of all."""

    def between(self, species: Tensor, features: Tensor) -> Tensor:
        n = self.huge if self.has_much_germanium(species) else 1
        return features.unsqueeze(0).expand(n, features.size(0))[0]


class Scaled(_Failing):
    """A network with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0, dtype=torch.float64))

    def after(self, species: Tensor, features: Tensor) -> Tensor:
        return self.scale * features


class Fewer(_Failing):
    """A network that exchanges less often than it should."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        bonds = tiny.fade(edge_vectors.square().sum(1), self.cutoff)
        features = self.layer(1.0 + 0.5 * species.to(edge_vectors.dtype), edge_index, bonds)
        features = self.layer(features, edge_index, bonds)
        return self.layer(torch.ops.kim_torchml.exchange(features), edge_index, bonds)


class Forgetful(_Failing):
    """A network that exchanges as often as it should, but not before its second layer."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        bonds = tiny.fade(edge_vectors.square().sum(1), self.cutoff)
        features = self.layer(1.0 + 0.5 * species.to(edge_vectors.dtype), edge_index, bonds)
        features = self.layer(features, edge_index, bonds)
        features = torch.ops.kim_torchml.exchange(torch.ops.kim_torchml.exchange(features))
        return self.layer(features, edge_index, bonds)


RAISES_BEFORE = "Failing_RaisesBefore"
RAISES_BETWEEN = "Failing_RaisesBetween"
RAISES_AFTER = "Failing_RaisesAfter"
NOT_A_NUMBER = "Failing_NotANumber"
INFINITE_FORCES = "Failing_InfiniteForces"
NEEDS_MEMORY = "Failing_NeedsMemory"
NEEDS_MEMORY_BACKWARDS = "Failing_NeedsMemoryBackwards"
SCALED = "Failing_Scaled"
_NETWORKS = {
    RAISES_BEFORE: RaisesBefore,
    RAISES_BETWEEN: RaisesBetween,
    RAISES_AFTER: RaisesAfter,
    NOT_A_NUMBER: NotANumber,
    INFINITE_FORCES: InfiniteForces,
    NEEDS_MEMORY: NeedsMemory,
    NEEDS_MEMORY_BACKWARDS: NeedsMemoryBackwards,
    SCALED: Scaled,
}
_PARAMETER = '[parameters]\nscale = "factor of all energies"\n'


def failing_models() -> list[PortableModel]:
    """Return one portable model for each of the names above."""
    return [
        tiny.edges(name, network(), _PARAMETER * (name == SCALED), n_layers=3) for name, network in _NETWORKS.items()
    ]


def twin(network: nn.Module) -> PortableModel:
    """Return a model of the name and the cutoff of a sound one, with another network."""
    return tiny.edges(tiny.EXCHANGED, network, n_layers=3)


def twin_with_other_weights() -> PortableModel:
    """Return a model of the name of a sound one, and of its network, with another cutoff inside of that."""
    network = tiny.ExchangedLayers()
    network.cutoff *= 0.99
    return twin(network)


def twin_of_strange_species() -> PortableModel:
    """Return a model of the name of a sound one, of which one species is no element."""
    sound = twin(tiny.ExchangedLayers())
    strange = sound.files["model.toml"].replace(b'"Ge"', b'"Qq"')
    return PortableModel(sound.name, {**sound.files, "model.toml": strange})


def half_germanium() -> Atoms:
    """Return a crystal of silicon whose upper half along x is germanium."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 2, 2)
    atoms.rattle(0.05, seed=1)
    atoms.symbols[atoms.positions[:, 0] > atoms.cell[0, 0] / 2] = "Ge"
    return atoms
