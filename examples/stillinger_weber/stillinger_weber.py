# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stillinger-Weber potential as a TorchScript module, for the driver's kind `None`."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# The parameters that users may set through KIM, with a description of each. The cutoff is not among them, because the
# driver's neighbour lists end at the cutoff of the parameter file, whatever is set here.
KIM_PARAMETERS = {
    "A": "Strength of the pair terms, eV",
    "B": "Strength of the repulsion relative to the attraction",
    "p": "Exponent of the repulsion",
    "q": "Exponent of the attraction",
    "sigma": "Length of the pair terms, Å",
    "gamma": "Length over which a bond counts in the angular terms, Å",
    "lambda_": "Strength of the angular terms, eV",
    "costheta0": "Cosine of the angle that costs nothing",
}


class StillingerWeber(nn.Module):
    """Stillinger-Weber potential for one species, without a loop over particles or triplets.

    Particle energies, with r and u the length and direction of the bond from i to a neighbour:

        E_i = 1/2 sum_j phi2(r_ij) + sum_{j<k} lambda h(r_ij) h(r_ik) (u_ij.u_ik - costheta0)^2
        phi2(r) = A (B (r/sigma)^-p - (r/sigma)^-q) exp(sigma / (r - cutoff))
        h(r) = exp(gamma / (r - cutoff))

    phi2 and h vanish, with all derivatives, at the cutoff. The sum over pairs of bonds can be written
    with squares of sums over single bonds, S = sum h, V = sum h u, T = sum h u (x) u:

        sum_{j<k} ... = lambda/2 (T:T - 2 costheta0 V.V + costheta0^2 S^2
                                  - (1 - costheta0)^2 sum h^2)

    so the model costs no more than a pair potential. Every constant is a buffer with the name that
    it has in KIM's own model (`lambda` is a keyword of Python, hence `lambda_`). `kim_parameters`
    tells the driver which of them to offer to simulators.

    Source:
        F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985). As in the KIM driver
        SW__MD_335816936951, A and lambda include the factor epsilon, gamma and cutoff the factor sigma.
    """

    kim_parameters: dict[str, str]
    A: Tensor
    B: Tensor
    p: Tensor
    q: Tensor
    sigma: Tensor
    gamma: Tensor
    cutoff: Tensor
    lambda_: Tensor
    costheta0: Tensor

    def __init__(self, parameters: Mapping[str, float]) -> None:
        """Store the constants.

        Args:
            parameters: Values by the names in KIM's model: A and lambda in eV, sigma, gamma and cutoff
                in Å, the others without unit.
        """
        super().__init__()
        for name in ("A", "B", "p", "q", "sigma", "gamma", "cutoff", "lambda", "costheta0"):
            value = torch.tensor(parameters[name], dtype=torch.float64)
            self.register_buffer("lambda_" if name == "lambda" else name, value)
        self.kim_parameters = KIM_PARAMETERS

    def forward(
        self,
        species: Tensor,
        coordinates: Tensor,
        n_neighbours: Tensor,
        neighbours: Tensor,
        contributing: Tensor,
    ) -> Tensor:
        """Return the energies of the contributing particles, which come before all other particles.

        Args:
            species: Not used, shape [n], int64.
            coordinates: Cartesian coordinates, shape [n, 3], float64, Å.
            n_neighbours: Number of neighbours of each contributing particle, shape
                [contributing], int32.
            neighbours: Indices of their neighbours, one list after the other, shape
                [sum of n_neighbours], int32. The lists are full: each bond is in the lists of both ends.
            contributing: Not used, shape [n], int64, 1 = contributing.
        Returns:
            Particle energies, shape [contributing], eV.
        """
        n_contributing = n_neighbours.size(0)
        centre = torch.repeat_interleave(
            torch.arange(n_contributing, device=coordinates.device),
            n_neighbours,
            output_size=neighbours.size(0),
        )
        bonds = coordinates.index_select(0, neighbours.to(torch.int64))
        bonds = bonds - coordinates.index_select(0, centre)
        per_bond = self.bond_terms(bonds)
        moments = torch.zeros(
            [n_contributing, per_bond.size(1)], dtype=per_bond.dtype, device=per_bond.device
        ).index_add(0, centre, per_bond)
        squares = moments.square()
        scalar, vector = squares[:, 1], squares[:, 2:5].sum(1)
        tensor = squares[:, 5:8].sum(1) + 2.0 * squares[:, 8:11].sum(1)
        all_pairs = tensor - 2.0 * self.costheta0 * vector + self.costheta0.square() * scalar
        return moments[:, 0] + 0.5 * self.lambda_ * all_pairs

    def bond_terms(self, bonds: Tensor) -> Tensor:
        """Return what each bond adds to the sums over the bonds of a particle.

        Args:
            bonds: Vectors from a particle to its neighbours, shape [bonds, 3], Å.
        Returns:
            Terms, shape [bonds, 11]. The first column is half of phi2, less what the squares of S, V
            and T count for the bond with itself. The others are h, h u (3 columns) and h u (x) u
            (6 columns: xx, yy, zz, xz, yx, zy).
        """
        distance = bonds.square().sum(1, keepdim=True).sqrt()
        inside = distance < self.cutoff
        # Infinities in the branch that `where` does not take would make the gradient NaN (0 * inf), so
        # bonds outside the cutoff get a harmless distance before the exponentials, and 0 after them.
        distance = torch.where(inside, distance, 0.5 * self.cutoff)
        inverse = 1.0 / (distance - self.cutoff)
        zero = torch.zeros_like(distance)
        logarithm = torch.log(distance / self.sigma)
        decay = self.sigma * inverse
        repulsion = self.B * torch.exp(decay - self.p * logarithm)
        phi2 = self.A * (repulsion - torch.exp(decay - self.q * logarithm))
        phi2 = torch.where(inside, phi2, zero)
        h = torch.where(inside, torch.exp(self.gamma * inverse), zero)
        with_itself = 0.5 * self.lambda_ * (1.0 - self.costheta0).square() * h.square()
        u = bonds / distance
        hu = h * u
        return torch.cat([0.5 * phi2 - with_itself, h, hu, hu * u, hu * u.roll(1, 1)], 1)
