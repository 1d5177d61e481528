# SPDX-License-Identifier: LGPL-2.1-or-later
"""Centring and scaling of descriptors, which the end of a descriptor's file may ask for."""

from dataclasses import dataclass, field

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
    _tables: dict[tuple[torch.dtype, torch.device], tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return normalised values, shape [m, width], in the dtype and on the device of the values."""
        key = values.dtype, values.device
        if key not in self._tables:
            self._tables[key] = self.mean.to(values), self.standard_deviation.to(values)
        mean, deviation = self._tables[key]
        return (values - mean) / deviation
