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


class Halves(torch.nn.Module):
    """A submodule with a branch and a loop; it adds to its buffer if `keeps`."""

    # A constant: the branch that is not taken is left out of the file.
    __constants__ = ("keeps",)

    def __init__(self, keeps: bool):
        super().__init__()
        self.keeps = keeps
        self.register_buffer("calls", torch.zeros([1], dtype=torch.float64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        half = 0.5 * x
        if x.size(0) > 2:
            half = half + self.calls.sum()
        for _ in range(2):
            half.mul_(1.0)
            if self.keeps:
                self.calls.add_(1.0)
        return half


class Branch(torch.nn.Module):
    """A submodule that starts a task of its own, in a branch."""

    def __init__(self, keeps: bool):
        super().__init__()
        self.halves = Halves(keeps)

    def forward(self, x: Tensor) -> Tensor:
        if x.size(0) > 1:
            task = torch.jit.fork(self.halves, x)
            x = x + 0.0 * torch.jit.wait(task)
        return x


class SubmoduleInTask(Stateful):
    keeps = True

    def __init__(self):
        super().__init__()
        self.halves = Halves(self.keeps)

    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        tasks = [torch.jit.fork(self.halves, r) for _ in range(2)]
        own = r * 1.0
        own.add_(1.0)
        for task in tasks:
            own = own + torch.jit.wait(task)
        return self.site_energies(s, r, counts, neighbours) + 0.0 * own.sum()


class TaskInTask(Stateful):
    keeps = True

    def __init__(self):
        super().__init__()
        self.branch = Branch(self.keeps)

    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        task = torch.jit.fork(self.branch, r)
        x = r * 1.0
        x.add_(1.0)
        return self.site_energies(s, r, counts, neighbours) + 0.0 * (x.sum() + torch.jit.wait(task).sum())


class AfterTask(Stateful):
    """A model that changes what a task has handed out of an attribute."""

    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        handed_out = torch.jit.wait(torch.jit.fork(first_row, self.room))
        handed_out.add_(1.0)
        return self.site_energies(s, r, counts, neighbours)


def first_row(room: Tensor) -> Tensor:
    return room[0]


class SubmoduleOnlyReadsInTask(SubmoduleInTask):
    keeps = False


class TaskInTaskOnlyReads(TaskInTask):
    keeps = False


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


TASKS = (InTask, SubmoduleInTask, TaskInTask, AfterTask)
TASKS_THAT_READ = (SubmoduleOnlyReadsInTask, TaskInTaskOnlyReads)
KEEPING = (InSlice, InView, AsOut, InList, NeededByBackward, InBranch, InLoop, ThroughList, InElement, *TASKS)
