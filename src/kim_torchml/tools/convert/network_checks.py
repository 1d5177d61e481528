# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is found out of a network of any family before it is exported: its floating type, and that it runs."""

import importlib.metadata
from collections.abc import Iterable

import torch

from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError


def floating_type_of(tensors: Iterable[torch.Tensor]) -> torch.dtype:
    """Return the floating type of a network's tensors, where it is one that can be converted.

    Raises:
        DriverError: If there are several, or it is another one.
    """
    found = {each.dtype for each in tensors if each.is_floating_point()}
    if len(found) != 1 or not found <= {torch.float32, torch.float64}:
        types = ", ".join(sorted(map(type_word, found))) or "none"
        raise DriverError(f"a network must be of one type, float32 or float64, got {types}; say --dtype")
    return found.pop()


def check_runs(module: torch.nn.Module, dtype: torch.dtype, package: str) -> None:
    """Check that a network needs no more than species and edges, and runs with the installed package.

    Args:
        module: A network of the kind edges.
        dtype: Its floating type.
        package: Name of its package for pip.
    Raises:
        DriverError: If not.
    """
    species = torch.zeros(2, dtype=torch.int64, device="cpu")
    edge_index = torch.tensor([[0, 1], [1, 0]], dtype=torch.int64, device="cpu")
    vectors = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=dtype, device="cpu")
    try:
        module(species, edge_index, vectors)
    except KeyError as error:
        raise DriverError(
            f"the network needs {error} beside species and edges, which the kind edges does not have; it cannot be "
            "converted"
        ) from error
    # Classes of another version lack attributes, or have other arguments.
    except Exception as error:
        raise DriverError(
            f"the network does not run with {package} {importlib.metadata.version(package)}: {reason_of(error)}; "
            "install the version that it was made with"
        ) from error
