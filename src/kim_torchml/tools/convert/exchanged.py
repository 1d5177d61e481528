# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts of networks that exchange features between ranks: they are put in place of a package's own parts.

The package's part stays as it is. Where nothing is exchanged, on one rank above all, what it gives is copied.
"""

import torch

import kim_torchml.engines.exchange  # noqa: F401 - registers the operator


class ExchangedFeatures(torch.nn.Module):
    """A part that gives features of rows, which the layer then gathers by edge_index[1]."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the part gives, shape [rows, ...], with the rows of other ranks' particles filled in."""
        return torch.ops.kim_torchml.exchange(self.part(features))  # type: ignore[no-any-return]


class ExchangedEntry(torch.nn.Module):
    """A part that takes features of rows out of a dictionary, and gathers them by edge_index[1]."""

    def __init__(self, part: torch.nn.Module, key: str) -> None:
        """Put a part inside.

        Args:
            part: The package's own.
            key: What the features are called in the dictionary.
        """
        super().__init__()
        self.part = part
        self.key = key

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what the part gives where the rows of other ranks' particles are filled in."""
        data[self.key] = torch.ops.kim_torchml.exchange(data[self.key])
        return self.part(data)  # type: ignore[no-any-return]


def exchange_what_comes_of(layer: torch.nn.Module, *names: str) -> None:
    """Let a layer exchange what parts of it give, those of these names that it has."""
    for name in names:
        part = layer._modules.get(name)
        if part is not None:
            layer._modules[name] = ExchangedFeatures(part)
