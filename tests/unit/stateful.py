# SPDX-License-Identifier: LGPL-2.1-or-later
"""TorchScript models that keep something of a call in an attribute, each in its own way; the energy is that of Pair."""

import torch
from models import Pair
from torch import Tensor


class Stateful(Pair):
    """A model with an attribute for coordinates and one for a list."""

    kept: list[Tensor]

    def __init__(self):
        super().__init__()
        self.register_buffer("room", torch.zeros([64, 3], dtype=torch.float64), persistent=False)
        self.kept = [torch.zeros([1, 3], dtype=torch.float64)]

    def busy(self, like: Tensor) -> float:
        """Take some time, in which other threads run, and return 0."""
        waste = torch.ones([20000], dtype=like.dtype)
        for _ in range(20):
            waste = waste.sin()
        return 0.0 * float(waste[0])


class InSlice(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        self.room[: r.size(0)] = r.detach()
        shift = self.busy(r)
        same = (self.room[: r.size(0)] - r.detach()).abs().sum()
        return self.site_energies(s, r, counts, neighbours) + shift + same


class InView(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        room = self.room.narrow(0, 0, r.size(0))
        room.copy_(r.detach())
        shift = self.busy(r)
        return self.site_energies(s, r, counts, neighbours) + shift + (room - r.detach()).abs().sum()


class AsOut(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        room = self.room[: r.size(0)]
        torch.mul(r.detach(), 1.0, out=room)
        shift = self.busy(r)
        return self.site_energies(s, r, counts, neighbours) + shift + (room - r.detach()).abs().sum()


class InList(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        self.kept.clear()
        self.kept.append(r.detach())
        shift = self.busy(r)
        return self.site_energies(s, r, counts, neighbours) + shift + (self.kept[0] - r.detach()).abs().sum()


class NeededByBackward(Stateful):
    """A model that keeps the tensor from which its derivative is computed."""

    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        ones = self.room.narrow(0, 0, r.size(0)).fill_(1.0)
        return self.site_energies(s, r * ones, counts, neighbours) + self.busy(r)


class InBranch(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        change = r * 2.0
        if r.size(0) > 3:
            change = self.room
        change.add_(1.0)
        return self.site_energies(s, r, counts, neighbours)


class InLoop(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        change = r * 2.0
        for _ in range(3):
            change.add_(1.0)
            change = self.room
        return self.site_energies(s, r, counts, neighbours)


class ThroughList(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        tensors = [r]
        tensors.append(self.room)
        tensors[1].add_(1.0)
        return self.site_energies(s, r, counts, neighbours)


class InElement(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        self.kept[0].add_(1.0)
        return self.site_energies(s, r, counts, neighbours)


class InTask(Stateful):
    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        task = torch.jit.fork(count_up, self.room)
        return self.site_energies(s, r, counts, neighbours) + 0.0 * torch.jit.wait(task)


def count_up(room: Tensor) -> Tensor:
    return room.add_(1.0).sum()


class Reading(Stateful):
    """A model that reads its attributes and changes only tensors that it has made itself."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        own = r * self.room[0, 0]
        own.add_(self.room[:1].sum())
        own[0] = 0.0
        own += self.room[0]
        tensors = [own]
        tensors.append(self.kept[0])
        normal = self.norm(own)
        for _ in range(3):
            normal = normal + own
            normal.mul_(0.5)
        flat = normal.reshape(-1)
        flat.relu_()
        return self.site_energies(s, r, counts, neighbours) + 0.0 * flat.sum()


KEEPING = (InSlice, InView, AsOut, InList, NeededByBackward, InBranch, InLoop, ThroughList, InElement, InTask)
