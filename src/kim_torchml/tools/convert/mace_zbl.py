# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pair repulsion of MACE in the type of its network, for TorchScript; it needs the package mace-torch.

The package multiplies atomic numbers, which are integers, by a number. TorchScript computes that in the process's
default type, which is single precision in simulators.
"""

import importlib.metadata

import torch
from mace.modules.radial import PolynomialCutoff, ZBLBasis
from mace.tools.scatter import scatter_sum

from kim_torchml.errors import DriverError

# What atomic numbers times a number lose in single precision, and more.
_ALLOWED = 1e-6


class PairRepulsion(ZBLBasis):  # type: ignore[misc]
    """The universal potential of Ziegler, Biersack and Littmark, as the package has it, for atomic numbers as numbers.

    Source:
        mace-torch 0.3.16, mace.modules.radial.ZBLBasis.
    """

    def forward(
        self, x: torch.Tensor, node_attrs: torch.Tensor, edge_index: torch.Tensor, atomic_numbers: torch.Tensor
    ) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV.

        Args:
            x: Lengths of edges, shape [E, 1], Å.
            node_attrs: Which element each row is of, shape [n, elements].
            edge_index: Sender and receiver of each edge, shape [2, E].
            atomic_numbers: Those of the elements, shape [elements].
        """
        numbers = atomic_numbers[torch.argmax(node_attrs, dim=1)].unsqueeze(-1)
        first, second = numbers[edge_index[0]], numbers[edge_index[1]]
        z_first, z_second = first.to(x.dtype), second.to(x.dtype)
        length = self.a_prefactor * 0.529 / (torch.pow(z_first, self.a_exp) + torch.pow(z_second, self.a_exp))
        scaled = x / length
        screening = (
            self.c[0] * torch.exp(-3.2 * scaled)
            + self.c[1] * torch.exp(-0.9423 * scaled)
            + self.c[2] * torch.exp(-0.4028 * scaled)
            + self.c[3] * torch.exp(-0.2016 * scaled)
        )
        cutoff = self.covalent_radii[first] + self.covalent_radii[second]
        envelope = PolynomialCutoff.calculate_envelope(x, cutoff, self.p)
        energies = 0.5 * (14.3996 * z_first * z_second) / x * screening * envelope
        return scatter_sum(energies, edge_index[1], dim=0, dim_size=node_attrs.size(0)).squeeze(-1)  # type: ignore[no-any-return]


def pair_repulsion_in_own_type(module: torch.nn.Module) -> None:
    """Let the pair repulsion in a module of double precision be computed so, whatever the process's default type is.

    Raises:
        DriverError: If the package that is installed computes something else.
    """
    for part in module.modules():
        if type(part) is ZBLBasis and part.c.dtype == torch.float64:
            expected = _of_pairs(part)
            part.__class__ = PairRepulsion
            if not torch.allclose(_of_pairs(part), expected, rtol=_ALLOWED, atol=0.0):
                raise DriverError(
                    f"the pair repulsion of mace-torch {importlib.metadata.version('mace-torch')} must be that of "
                    "0.3.16, which it is not; convert to pt2"
                )


def _of_pairs(part: torch.nn.Module) -> torch.Tensor:
    """Return the energies of a row of hydrogen and copper at several distances."""
    lengths = torch.linspace(0.2, 1.4, 7, dtype=torch.float64, device="cpu").unsqueeze(1)
    rows = torch.arange(14, dtype=torch.int64, device="cpu").reshape(2, 7)
    elements = torch.eye(2, dtype=torch.float64, device="cpu").repeat_interleave(7, dim=0)
    numbers = torch.tensor([1, 29], dtype=torch.int64, device="cpu")
    found: torch.Tensor = part(lengths, elements, rows, numbers)
    return found
