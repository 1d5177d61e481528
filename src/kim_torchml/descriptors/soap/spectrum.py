# SPDX-License-Identifier: LGPL-2.1-or-later
"""The power spectrum of the density's coefficients, and its gradient with respect to them."""

from math import pi, sqrt

import torch

from kim_torchml.descriptors.soap.density import coefficients_of


class PowerSpectrum:
    """Power spectrum of the densities of the species.

    p = 4 pi³ sqrt(8 / (2 l + 1)) sum_m c^Z_nlm c^Z'_n'lm for Z <= Z', n <= n' and each l, in this order, l running
    fastest. As in libdescriptor, the density of a species contains those of all species before it.
    """

    def __init__(self, n_max: int, l_max: int, n_species: int, device: torch.device) -> None:
        """Prepare the order of the values."""
        self.n_max, self.l_max, self.n_species = n_max, l_max, n_species
        pairs = [
            (first * n_max + n, second * n_max + m)
            for first in range(n_species)
            for second in range(first, n_species)
            for n in range(n_max)
            for m in range(n, n_max)
        ]
        size = n_species * n_max
        self._entries = torch.tensor([i * size + j for i, j in pairs], dtype=torch.int64, device=device)
        self.width = len(pairs) * (l_max + 1)
        self._prefactors = [4.0 * pi**3 * sqrt(8.0 / (2 * degree + 1)) for degree in range(l_max + 1)]
        # The values of each centre, and for one l at a time the coefficients, the products of all pairs of them, and
        # the gradients of both.
        self.numbers_per_centre = 2 * self.width + 4 * size * (2 * l_max + 1) + 3 * size**2

    def values(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the power spectrum.

        Args:
            rows: Coefficients by centre and species, shape [c, n_species, n_max (l_max + 1)²], in the order of l, n, m.
        Returns:
            Values, shape [c, width].
        """
        values = []
        for degree, prefactor in enumerate(self._prefactors):
            coefficients = self._coefficients(rows, degree)
            products = torch.bmm(coefficients, coefficients.mT).flatten(1)
            values.append(products.index_select(1, self._entries) * prefactor)
        return torch.stack(values, dim=2).flatten(1)

    def gradient(self, rows: torch.Tensor, by_values: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the coefficients, in the shape of `rows`.

        Args:
            rows: Coefficients by centre and species, shape [c, n_species, n_max (l_max + 1)²], in the order of l, n, m.
            by_values: Gradient with respect to the power spectrum, shape [c, width].
        """
        gradient = torch.empty_like(rows)
        size = self.n_species * self.n_max
        by_pairs = by_values.reshape(-1, len(self._entries), self.l_max + 1)
        for degree, prefactor in enumerate(self._prefactors):
            coefficients = self._coefficients(rows, degree)
            by_products = rows.new_zeros(len(rows), size * size)
            by_products[:, self._entries] = by_pairs[:, :, degree] * prefactor
            by_products = by_products.view(-1, size, size)
            by_coefficients = torch.bmm(by_products + by_products.mT, coefficients)
            by_coefficients = by_coefficients.reshape(len(rows), self.n_species, self.n_max * (2 * degree + 1))
            # A species contributes to its own density and to those of all species after it.
            gradient[:, :, coefficients_of(degree, self.n_max)] = by_coefficients.flip(1).cumsum(1).flip(1)
        return gradient

    def _coefficients(self, rows: torch.Tensor, degree: int) -> torch.Tensor:
        """Return the coefficients of one l of the running sums over species, shape [c, n_species n_max, 2 l + 1]."""
        sums = rows[:, :, coefficients_of(degree, self.n_max)].cumsum(1)
        return sums.reshape(len(rows), self.n_species * self.n_max, 2 * degree + 1)
