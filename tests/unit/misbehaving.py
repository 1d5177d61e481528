# SPDX-License-Identifier: LGPL-2.1-or-later
"""TorchScript models that misbehave, or behave well in an unusual way; all take the inputs of preprocessing None."""

import torch
from models import Pair
from torch import Tensor, nn


class Raising(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        if coordinates.numel() > 0:
            raise ValueError("this model is never content")
        return coordinates.sum()


class Failing(nn.Module):
    """A model in which an operator of torch fails."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return (coordinates @ coordinates).sum()


class FailingBackward(nn.Module):
    """A model whose derivative fails, though its value does not: it changes in place what the derivative needs."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        root = coordinates.square().add(1.0).sqrt()
        energy = root.sum()
        root.mul_(2.0)
        return energy + 0.0 * root.sum()


class Printing(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        print("rows", coordinates.size(0))
        return coordinates.sum()


class PrintingInTask(nn.Module):
    """A model that prints in a task of its own, which another thread runs."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(printed_sum, coordinates))


def printed_sum(coordinates: Tensor) -> Tensor:
    print("rows", coordinates.size(0))
    return coordinates.sum()


class Returning(nn.Module):
    """Returns a tensor of a chosen shape, each entry the sum of the coordinates times a factor."""

    shape: list[int]

    def __init__(self, shape, factor=1.0):
        super().__init__()
        self.shape = list(shape)
        self.factor = factor

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return torch.ones(self.shape, device=coordinates.device) * coordinates.sum() * self.factor


class ReturningForces(nn.Module):
    """Returns an energy and forces of a chosen shape, full of one value."""

    shape: list[int]

    def __init__(self, shape, value=1.0):
        super().__init__()
        self.shape = list(shape)
        self.value = value

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        return coordinates.sum(), torch.full(self.shape, self.value, device=coordinates.device)


class ReturningForcesOfOneValue(nn.Module):
    """Returns forces on all particles, all of one value, in the shape [n, 3] or [3n]."""

    def __init__(self, flat=False, value=1.0):
        super().__init__()
        self.flat = flat
        self.value = value

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        forces = torch.full_like(coordinates, self.value)
        return coordinates.sum(), forces.reshape(-1) if self.flat else forces


class ReturningComplex(nn.Module):
    def forward(
        self,
        species: torch.Tensor,
        coordinates: torch.Tensor,
        counts: torch.Tensor,
        neighbours: torch.Tensor,
        contributing: torch.Tensor,
    ):
        return torch.complex(coordinates.sum(), coordinates.sum())


class RaisingManyLines(nn.Module):
    def forward(
        self,
        species: torch.Tensor,
        coordinates: torch.Tensor,
        counts: torch.Tensor,
        neighbours: torch.Tensor,
        contributing: torch.Tensor,
    ) -> torch.Tensor:
        raise RuntimeError("first line\n\nlast line")


class ReturningThree(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return coordinates.sum(), coordinates, coordinates


class ReturningAFloat(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> float:
        return float(coordinates.sum())


class Detached(Pair):
    """A model whose energy is detached from the coordinates."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return self.site_energies(a, coordinates.detach(), b, c)


class DetachedSometimes(Pair):
    """A model whose energy is detached for more than five particles, and so not in the driver's probe."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        seen = coordinates.detach() if coordinates.size(0) > 5 else coordinates
        return self.site_energies(a, seen, b, c)


class ShortRanged(nn.Module):
    """Sums in a loop over pairs that are closer than 1.1; without one, its energy does not depend on coordinates."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        energy = torch.zeros([1], dtype=coordinates.dtype, device=coordinates.device)
        for i in range(coordinates.size(0)):
            for j in range(i):
                r = (coordinates[i] - coordinates[j]).square().sum().sqrt()
                if bool(r < 1.1):
                    energy = energy + (1.1 - r).pow(3)
        return energy


class ShortRangedOfAll(Pair):
    """Returns one energy per particle, 7 for those that do not contribute.

    Without a neighbour of the first particle within 1.1 no energy depends on coordinates.
    """

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        r = (coordinates[1:] - coordinates[:1]).square().sum(1).sqrt()
        own = torch.zeros([b.size(0)], dtype=coordinates.dtype, device=coordinates.device)
        if bool((r < 1.1).any()):
            own = own + (1.1 - r).clamp(min=0.0).pow(3).sum()
        return torch.cat([own, 7.0 + torch.zeros_like(d[b.size(0) :]).to(own.dtype)])


class NearestEight(Pair):
    """Looks at the eight nearest neighbours of the first particle, and fails where there are fewer."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        squares = (coordinates[1:] - coordinates[:1]).square().sum(1)
        return squares.topk(8, largest=False).values.sum()


class OfSecondSpecies(Pair):
    """A model whose energy depends on coordinates only if a particle is of the second species."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        if bool((a == 1).any()):
            return self.site_energies(a, coordinates, b, c)
        return torch.zeros(b.numel(), dtype=coordinates.dtype, device=coordinates.device)


class TotalSometimes(nn.Module):
    """Returns one energy per particle in the probe, but the total for more than five particles."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        energies = coordinates.sum(1)
        return energies.sum() if energies.numel() > 5 else energies


class FourInputs(nn.Module):
    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return coordinates.sum()


class InverseDistance(Pair):
    """A model that is infinite where two particles are in one place, with derivatives that are NaN."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        first = torch.repeat_interleave(torch.arange(b.numel(), device=b.device), b.to(torch.int64))
        return (1.0 / (coordinates[c.to(torch.int64)] - coordinates[first]).square().sum(1)).sum()


class RelativeSpecies(nn.Module):
    """Divides species by the largest, as a published model does: 0/0 for species code 0."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return ((a / a.max()).to(coordinates.dtype).unsqueeze(1) * coordinates).sum(1)


class EchoSpecies(nn.Module):
    """A model that returns, as the energy of a particle, the number that it is given for the species."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return a.to(coordinates.dtype) + 0.0 * coordinates.sum(1)


class MixedPrecision(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("low", torch.ones(1, dtype=torch.float32))
        self.register_buffer("high", torch.ones(1, dtype=torch.float64))

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return coordinates.sum() * self.low * self.high


class WholeNumbers(nn.Module):
    """A model whose parameters and buffers are all integers, so that no floating type can be read off them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("whole", torch.ones(2, dtype=torch.int64))

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return coordinates.sum() * self.whole[0]


class Training(nn.Module):
    """A model whose energy is another one in training mode."""

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return coordinates.sum() * (1000.0 if self.training else 1.0)
