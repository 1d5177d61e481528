# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that look like those of MACE, made without the package mace-torch."""

import os
import sys
import types

import torch
from torch import Tensor, nn

NETWORK = "mace.modules.models.ScaleShiftMACE"
CUTOFF = 3.0


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def pickle_of(path, *names, held=()):
    """Write a file of torch.save that names classes of packages which need not be there, and holds objects."""
    before = dict(sys.modules)
    try:
        objects = [_class(name)() for name in names]
        torch.save([*objects, *held], path)
    finally:
        for name in sys.modules.keys() - before.keys():
            if name.split(".")[0] in {each.split(".")[0] for each in names}:
                del sys.modules[name]
    return path


def _class(name):
    module, _, own = name.rpartition(".")
    parts = module.split(".")
    for count in range(len(parts)):
        package = ".".join(parts[: count + 1])
        sys.modules.setdefault(package, types.ModuleType(package))
    made = type(own, (), {"__module__": module})
    setattr(sys.modules[module], own, made)
    return made


class PairNetwork(nn.Module):
    """Called as a network of MACE is; each edge has an energy that depends on both species."""

    def __init__(self, n_elements: int, heads: list[str]):
        super().__init__()
        self.heads = heads
        self.weights = nn.Parameter(0.5 + 0.1 * torch.arange(n_elements, dtype=torch.float64, device="cpu"))
        self.alone = nn.Parameter(
            -torch.arange(1, 1 + len(heads) * n_elements, dtype=torch.float64, device="cpu").reshape(len(heads), -1)
        )

    def forward(
        self,
        data: dict[str, Tensor],
        training: bool = False,
        compute_force: bool = True,
        compute_virials: bool = False,
        compute_stress: bool = False,
        compute_displacement: bool = False,
    ) -> dict[str, Tensor | None]:
        positions, shifts = data["positions"], data["shifts"]
        if not positions.requires_grad:
            positions.requires_grad_(True)
        strain = torch.zeros((1, 3, 3), dtype=positions.dtype, device=positions.device)
        first, second = data["edge_index"][0], data["edge_index"][1]
        if compute_displacement:
            strain.requires_grad_(True)
            symmetric = 0.5 * (strain[0] + strain[0].t())
            positions = positions + positions @ symmetric
            shifts = shifts + shifts @ symmetric
        lengths = (positions[second] - positions[first] + shifts).square().sum(1).sqrt()
        weights = data["node_attrs"] @ self.weights
        within = (1.0 - (lengths / 3.0).square()).clamp(min=0.0).pow(3)
        edges = weights[first] * weights[second] * torch.exp(-lengths) * within
        own = (data["node_attrs"] @ self.alone[int(data["head"][0])]).to(lengths.dtype)
        energies = own.index_add(0, second, edges)
        return {"node_energy": energies, "displacement": strain}


class LAMMPS_MACE(nn.Module):  # noqa: N801
    """Around a network, as mace_create_lammps_model makes it."""

    def __init__(self, atomic_numbers=(11, 17), heads=("Default",), head=0):
        super().__init__()
        self.model = PairNetwork(len(atomic_numbers), list(heads))
        self.register_buffer("atomic_numbers", torch.tensor(atomic_numbers, dtype=torch.int64, device="cpu"))
        self.register_buffer("r_max", torch.tensor(CUTOFF, dtype=torch.float64, device="cpu"))
        self.register_buffer("num_interactions", torch.tensor(1, dtype=torch.int64, device="cpu"))
        self.register_buffer("head", torch.tensor([head], dtype=torch.int64, device="cpu"))

    def forward(
        self, data: dict[str, Tensor], local_or_ghost: Tensor, compute_virials: bool = False
    ) -> dict[str, Tensor | None]:
        data["head"] = self.head
        returned = self.model(data, compute_force=False, compute_displacement=compute_virials)
        energies, strain = returned["node_energy"], returned["displacement"]
        assert energies is not None
        assert strain is not None
        total = (energies * local_or_ghost).sum().unsqueeze(0)
        asked = [data["positions"], strain] if compute_virials else [data["positions"]]
        found = torch.autograd.grad([total], asked, allow_unused=True)
        forces, virials = found[0], found[-1]
        assert forces is not None
        assert virials is not None
        return {"total_energy_local": total, "forces": -forces, "virials": -virials}


# TorchScript names classes in a file by these.
LAMMPS_MACE.__module__ = "mace.calculators.lammps_mace"
PairNetwork.__module__ = "mace.modules.models"


def lammps_file(path, **changes):
    """Write a -lammps.pt."""
    torch.jit.script(LAMMPS_MACE(**changes)).save(str(path))
    return path
