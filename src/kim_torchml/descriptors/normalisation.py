# SPDX-License-Identifier: LGPL-2.1-or-later
"""Centring and scaling of descriptors, which the end of a descriptor's file may ask for."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Normalisation:
    """A function that turns each value of a descriptor into (value - mean) / standard deviation.

    Attributes:
        mean: Mean of each column, shape [width], float64.
        standard_deviation: Standard deviation of each column, shape [width], float64.
    """

    mean: torch.Tensor
    standard_deviation: torch.Tensor

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return normalised values, shape [m, width], in the dtype and on the device of the values."""
        mean, deviation = (table.to(values) for table in (self.mean, self.standard_deviation))
        return (values - mean) / deviation
