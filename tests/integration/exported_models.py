# SPDX-License-Identifier: LGPL-2.1-or-later
"""Twins: networks of the kind edges as programs of torch.export and as TorchScript, as save_model writes both."""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import example_models
import pytest
import tiny_models as tiny
import torch
from ase import Atoms
from configurations import crystal
from kim_collection import REPOSITORY, PortableModel
from torch import nn

from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, is_older

CAN_EXPORT = not is_older(str(torch.__version__), OLDEST_EXPORTING_TORCH)
needs_export = pytest.mark.skipif(
    not CAN_EXPORT,
    reason=(
        f"torch {torch.__version__} is older than {OLDEST_EXPORTING_TORCH}, the first whose exported programs are read"
    ),
)
EDGES_EXAMPLE = REPOSITORY / "examples" / "edges"


@dataclass(frozen=True)
class Twins:
    """A program of torch.export, and the same network as TorchScript.

    Attributes:
        exported: KIM id of the one.
        scripted: KIM id of the other.
        atoms: makes a periodic structure for them.
        parameter: name of one of their KIM parameters; none if they have none.
        relative: how far energies may be apart, relative to the energy.
        per_atom: how far they may be apart for each atom, eV.
        force: how far forces may be apart, eV/Å.
    """

    exported: str
    scripted: str
    atoms: Callable[[], Atoms]
    parameter: str = ""
    relative: float = 1e-12
    per_atom: float = 1e-14
    force: float = 1e-12

    @property
    def species(self) -> tuple[str, ...]:
        """Elements in the order of their codes."""
        return tuple(tiny.ELEMENTS) if self.atoms is crystal else ("Si",)


# The program of the example is read from its folder, which any torch must be able to do.
EXAMPLE = Twins(example_models.EDGES, "Twin_ExampleScripted", example_models.silicon, "initial")
SINGLE = Twins("Twin_Single", "Twin_SingleScripted", example_models.silicon, "initial", 0.0, 2e-6, 2e-5)
LAYERS = Twins("Twin_Layers", tiny.EDGES_3, crystal)
TWINS = {"example": EXAMPLE, "single": SINGLE, "layers": LAYERS}
READY = TWINS if CAN_EXPORT else {"example": EXAMPLE}
of_all_twins = pytest.mark.parametrize(
    "twins",
    [pytest.param(each, id=name, marks=() if each is EXAMPLE else needs_export) for name, each in TWINS.items()],
)


def example_network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return the trained network of the edges example."""
    sys.path.insert(0, str(EDGES_EXAMPLE))
    try:
        import make_model
    finally:
        sys.path.remove(str(EDGES_EXAMPLE))
    return make_model.trained_network(torch.jit.load(make_model.GRAPH_FILE)).to(dtype)


def save(name: str, module: nn.Module, file_format: str, folder: Path, **stated: Any) -> None:
    """Write a model of the kind edges with save_model; by default it is one of silicon, like the edges example."""
    import kim_torchml

    like_example = {"kind": "edges", "species": ["Si"], "cutoff": 3.8, "layers": 2}
    kim_torchml.save_model(module, folder, name=name, file_format=file_format, **(like_example | stated))


def saved(name: str, module: nn.Module, file_format: str, **stated: Any) -> PortableModel:
    """Return a model as `save` writes it."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        save(name, module, file_format, folder, **stated)
        files = (folder / "model.toml", folder / f"model.{file_format}")
        return PortableModel(name, {path.name: path.read_bytes() for path in files})


def like_tiny(n_layers: int = 1) -> dict[str, Any]:
    """Return what is said of the models of tiny_models.py."""
    return {"species": list(tiny.ELEMENTS), "cutoff": tiny.CUTOFF, "layers": n_layers}


def twin_models() -> list[PortableModel]:
    """Return the models of TWINS that are neither an example nor one of tiny_models.py."""
    described = {"parameters": {"initial": "features of every particle before the first convolution"}}
    double, single = example_network(), example_network(torch.float32)
    made = [saved(EXAMPLE.scripted, double, "pt", **described)]
    if CAN_EXPORT:
        made.append(saved(SINGLE.scripted, single, "pt", **described))
        made.append(saved(SINGLE.exported, single, "pt2", **described))
        made.append(saved(LAYERS.exported, tiny.EdgeLayers(3), "pt2", **like_tiny(3)))
    return made
