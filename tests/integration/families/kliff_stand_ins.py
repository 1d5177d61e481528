# SPDX-License-Identifier: LGPL-2.1-or-later
"""What KLIFF's trainers import and cannot be had everywhere, replaced in the test's own process.

torch_scatter has no wheels on the index, and building it takes a quarter of an hour; KLIFF calls one function of it.
The wheels of libdescriptor hold modules for Python 3.8 to 3.10 alone. Where it cannot be imported, symmetry functions
come from the C++ that KLIFF itself compiles (kliff.legacy).
"""

import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np


def provide_what_is_missing() -> None:
    """Let KLIFF's trainers and descriptors be imported; call this before they are."""
    try:
        import torch_scatter  # noqa: F401
    except ImportError:
        sys.modules["torch_scatter"] = _torch_scatter()
    try:
        import libdescriptor  # noqa: F401
    except ImportError:
        sys.modules["libdescriptor"] = _libdescriptor()


def _torch_scatter() -> types.ModuleType:
    import torch

    def scatter_add(values: "torch.Tensor", index: "torch.Tensor", dim: int = 0) -> "torch.Tensor":
        shape = (int(index.max()) + 1, *values.shape[1:])
        return torch.zeros(shape, dtype=values.dtype, device=values.device).index_add(dim, index, values)

    module = types.ModuleType("torch_scatter")
    module.scatter_add = scatter_add  # type: ignore[attr-defined]
    return module


class _AvailableDescriptors:
    """Kinds of descriptors by number, as libdescriptor has them."""

    def __init__(self, value: int) -> None:
        names = ("SymmetryFunctions", "Bispectrum", "SOAP")
        self.value = value
        self.name = names[value] if value < len(names) else "???"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _AvailableDescriptors) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


class _DescriptorKind:
    """Symmetry functions, computed by KLIFF's own C++."""

    def __init__(self, cutoff_function: str, cutoffs: np.ndarray) -> None:
        from kliff.legacy.descriptors.symmetry_function import sf

        self.functions = sf.Descriptor()
        self.functions.set_cutoff(cutoff_function, cutoffs)

    @staticmethod
    def init_descriptor(
        kind: _AvailableDescriptors, species: Sequence[str], cutoff_function: str, cutoffs: np.ndarray,
        names: Sequence[str], sizes: Sequence[int], values: np.ndarray,
    ) -> "_DescriptorKind":  # fmt: skip
        """Return the descriptor of libdescriptor's arguments: rows and columns of each function, and all values."""
        assert kind.name == "SymmetryFunctions"
        assert cutoffs.shape == (len(species), len(species))
        made, start = _DescriptorKind(cutoff_function, cutoffs), 0
        for name, rows, columns in zip(names, sizes[::2], sizes[1::2], strict=True):
            end = start + rows * columns
            made.functions.add_descriptor(name, np.ascontiguousarray(values[start:end].reshape(rows, columns)))
            start = end
        return made


def _compute_single_atom(
    kind: _DescriptorKind, atom: int, species: np.ndarray, neighbours: np.ndarray, coordinates: np.ndarray
) -> np.ndarray:
    found: np.ndarray = kind.functions.generate_one_atom(atom, coordinates, species, neighbours, False)[0]
    return found


def _gradient_single_atom(
    kind: _DescriptorKind, atom: int, species: np.ndarray, neighbours: np.ndarray, coordinates: np.ndarray,
    values: np.ndarray, weights: np.ndarray,
) -> np.ndarray:  # fmt: skip
    del values
    _, derivatives = kind.functions.generate_one_atom(atom, coordinates, species, neighbours, True)
    gradient = np.zeros_like(coordinates)
    # Those of the atom itself come last.
    of_each = np.einsum("d,dnk->nk", weights, derivatives.reshape(len(weights), -1, 3))
    np.add.at(gradient, [*neighbours, atom], of_each)
    return gradient.ravel()


def _compute(
    kind: _DescriptorKind, n_atoms: int, species: np.ndarray, neighbours: np.ndarray, counts: np.ndarray,
    coordinates: np.ndarray,
) -> np.ndarray:  # fmt: skip
    lists = np.split(np.asarray(neighbours, dtype=np.intc), np.cumsum(counts)[:-1])
    return np.array([_compute_single_atom(kind, i, species, lists[i], coordinates) for i in range(n_atoms)])


def _libdescriptor() -> types.ModuleType:
    module: Any = types.ModuleType("libdescriptor")
    module.AvailableDescriptors = _AvailableDescriptors
    module.DescriptorKind = _DescriptorKind
    module.compute = _compute
    module.compute_single_atom = _compute_single_atom
    module.gradient_single_atom = _gradient_single_atom
    return module
