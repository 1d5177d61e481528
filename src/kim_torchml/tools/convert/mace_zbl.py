# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pair repulsion of MACE in the type of its network, for TorchScript; it needs the package mace-torch.

The package multiplies atomic numbers, which are integers, by a number. TorchScript computes that in the process's
default type, which is single precision in simulators.
"""

import importlib.metadata

import torch
from mace.modules.radial import PolynomialCutoff, ZBLBasis

from kim_torchml.errors import DriverError

# What atomic numbers times a number lose in single precision, and more.
_ALLOWED = 1e-6
# The four exponents of the universal screening function, in screening lengths.
_RATES = (3.2, 0.9423, 0.4028, 0.2016)


class PairRepulsion(ZBLBasis):  # type: ignore[misc]
    """The screened repulsion of nuclei, all of it in the type of the edges' lengths.

    Source:
        J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985): the universal
        potential. Its envelope and its parameters are the network's own.
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
        distances = x.squeeze(1)
        numbers = atomic_numbers[node_attrs.argmax(dim=1)][edge_index]
        charges = numbers.to(x.dtype)
        screening_lengths = 0.529 * self.a_prefactor / charges.pow(self.a_exp).sum(dim=0)
        screening = torch.exp(-torch.outer(distances / screening_lengths, self.rates)).matmul(self.c)
        reach = self.covalent_radii[numbers].sum(dim=0)
        envelope = PolynomialCutoff.calculate_envelope(distances, reach, self.p)
        # Each pair has two edges.
        energies = 0.5 * 14.3996 * charges.prod(dim=0) / distances * screening * envelope
        rows = torch.zeros(node_attrs.shape[0], dtype=x.dtype, device=x.device)
        return rows.index_add(0, edge_index[1], energies)


def pair_repulsion_in_own_type(module: torch.nn.Module) -> None:
    """Let the pair repulsion in a module of double precision be computed so, whatever the process's default type is.

    Raises:
        DriverError: If the package that is installed computes something else.
    """
    for part in module.modules():
        if type(part) is ZBLBasis and part.c.dtype == torch.float64:
            expected = _of_pairs(part)
            part.register_buffer("rates", torch.tensor(_RATES, dtype=torch.float64, device="cpu"))
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
