# SPDX-License-Identifier: LGPL-2.1-or-later
"""Centring and scaling of descriptors, as the end of a descriptor's file may ask for."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Normalisation:
    """Makes (value - mean) / standard deviation of each of a descriptor's columns.

    Attributes:
        mean: Shape [width], float64.
        standard_deviation: Shape [width], float64.
    """

    mean: torch.Tensor
    standard_deviation: torch.Tensor

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the normalised values [m, width], in their dtype and on their device."""
        mean, deviation = (table.to(values) for table in (self.mean, self.standard_deviation))
        return (values - mean) / deviation
