# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is made with the package chgnet: its network of a file's weights, and its calculator of that network."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from kim_torchml.errors import DriverError

# Is imported with the package, and looks which GPU has most memory; the only distribution that has it has no wheel.
_FINDS_GPUS = "nvidia_smi"
_BIAS = ".mlp_out.layers.1.bias"
# Å between an atom and the wall of its box, more than any network of the package sees.
_VACUUM = 15.0


def import_package() -> ModuleType:
    """Return the package's module of calculators.

    Raises:
        ImportError: If the package is not here, or lacks what it needs.
    """
    left_out = _FINDS_GPUS not in sys.modules and importlib.util.find_spec(_FINDS_GPUS) is None
    if left_out:
        sys.modules[_FINDS_GPUS] = ModuleType(_FINDS_GPUS)
    try:
        import chgnet.model.dynamics
    finally:
        if left_out:
            del sys.modules[_FINDS_GPUS]
    found: ModuleType = chgnet.model.dynamics
    return found


def network_of(content: Any, path: Path, what: str) -> Any:
    """Return the package's network of what a file holds.

    Args:
        content: What the file holds.
        path: The file.
        what: What the file must be, for messages.
    Raises:
        DriverError: If it holds no network of CHGNet, or one whose energy is no sum of energies of atoms.
    """
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not {"state_dict", "model_args"} <= model.keys():
        raise DriverError(
            f"`source` must be {what}, got {path}, which holds no network of CHGNet; name another file, or another "
            "family"
        )
    weights, arguments = model["state_dict"], dict(model["model_args"])
    if any(name.endswith(_BIAS) for name in weights):
        # Files of 0.2.0 do not say that they have it.
        arguments.setdefault("mlp_out_bias", True)
    network = import_package().CHGNet(**arguments)
    _check(network, path)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _check(network: Any, path: Path) -> None:
    """Check that a network's energy is a sum of energies of atoms.

    Raises:
        DriverError: If not.
    """
    from chgnet.model.composition_model import AtomRef

    if not network.mlp_first:
        raise DriverError(
            f"{path} holds a network with mlp_first=False, whose energy is one of features that are averaged over all "
            "atoms: the kind edges has an energy for each atom; it cannot be converted"
        )
    model = network.composition_model
    if model is not None and not isinstance(model, AtomRef):
        raise DriverError(
            f"{path} holds a network with a composition model of the class {type(model).__name__}, whose energy is no "
            "sum over atoms: the kind edges has an energy for each atom; it cannot be converted"
        )
    if model is not None and model.is_intensive != network.is_intensive:
        raise DriverError(
            f"{path} holds a network with is_intensive={network.is_intensive} and a composition model with "
            f"is_intensive={model.is_intensive}, which adds an energy for each atom to one of all atoms; it cannot be "
            "converted"
        )


def calculator_of(network: Any, dtype: torch.dtype) -> Any:
    """Return the package's own calculator for ASE of a network.

    Args:
        network: The package's network.
        dtype: Its floating type. The package knows single precision alone; in double precision, this is its own code
            with the few places changed that name a type.
    """
    module = import_package()
    calculator_class: Any = module.CHGNetCalculator

    class InBox(calculator_class):  # type: ignore[misc]
        """The package's calculator, which needs a cell: atoms without one get a box that is large enough."""

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = None) -> None:
            """Compute energy, forces and stress."""
            boxed = atoms.copy()
            if atoms.cell.rank < len(atoms.cell):
                boxed.center(vacuum=_VACUUM)
            with _types_of(dtype):
                super().calculate(boxed, properties, system_changes, task="efs")
            self.atoms = atoms.copy()

    if dtype == torch.float64 and (model := network.composition_model) is not None:
        # Its own sum is one of single precision.
        model.forward = lambda graphs: _mean_or_sum(model, graphs)
    return InBox(network, use_device="cpu", on_isolated_atoms="ignore")


def _mean_or_sum(model: Any, graphs: Any) -> torch.Tensor:
    energies = model.get_site_energies(graphs)
    return torch.stack([each.mean() if model.is_intensive else each.sum() for each in energies])


@contextmanager
def _types_of(dtype: torch.dtype) -> Iterator[None]:
    """Let the package make graphs of a type."""
    from chgnet.graph import converter
    from chgnet.model import model

    modules: Mapping[Any, torch.dtype] = {each: each.TORCH_DTYPE for each in (converter, model)}
    try:
        for each in modules:
            each.TORCH_DTYPE = dtype
        yield
    finally:
        for each, before in modules.items():
            each.TORCH_DTYPE = before
