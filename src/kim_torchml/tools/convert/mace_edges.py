# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network of MACE as one of the kind edges; nothing of it is rewritten.

MACE computes edge vectors as positions[receiver] - positions[sender] + shifts, where messages go from the first index
to the second one. With all positions 0, shifts are the vectors, and the gradient goes by them alone.
"""

import torch

from kim_torchml.tools.convert.family import Closeness

# The package's own calculator sums the energies of all atoms in single precision.
SINGLE = Closeness(5e-6, 5e-5, 5e-6)


class MaceEdges(torch.nn.Module):
    """A network of MACE, with one of its heads, as one of the kind edges."""

    head: torch.Tensor

    def __init__(self, network: torch.nn.Module, n_elements: int, head: int) -> None:
        super().__init__()
        self.network = network
        self.n_elements = n_elements
        self.register_buffer("head", torch.tensor([head], dtype=torch.int64, device="cpu"))

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV: that of a lone atom, pair repulsion, scale and shift included.

        Single precision gives energies in double precision where the network itself does.
        """
        device, dtype = edge_vectors.device, edge_vectors.dtype
        data: dict[str, torch.Tensor] = {
            "positions": torch.zeros((species.shape[0], 3), dtype=dtype, device=device),
            "shifts": -edge_vectors,
            "unit_shifts": torch.zeros_like(edge_vectors),
            "cell": torch.zeros((3, 3), dtype=dtype, device=device),
            "edge_index": edge_index.flip(0),
            "node_attrs": torch.nn.functional.one_hot(species, self.n_elements).to(dtype),
            "batch": torch.zeros_like(species),
            # Only how many there are is used: the bounds of one structure.
            "ptr": torch.zeros(2, dtype=torch.int64, device=device),
            "head": self.head,
        }
        energies = self.network(data, training=False, compute_force=False)["node_energy"]
        if energies is None:
            raise ValueError("the network must give node_energy, got none")
        return energies  # type: ignore[no-any-return]
