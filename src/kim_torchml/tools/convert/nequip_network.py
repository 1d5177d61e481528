# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks of NequIP and Allegro, made from what was checked of a checkpoint, or taken out of a package.

The packages' networks take edge vectors already, and by the driver's convention: a message goes to the first index, and
vectors lead from it to the second one. They are float64, whatever type a network computes in.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.model_files.elements import SYMBOLS
from kim_torchml.tools.convert.default_dtype import default_dtype
from kim_torchml.tools.convert.exchanged import exchange_what_comes_of
from kim_torchml.tools.convert.nequip_config import NequIPNetwork
from kim_torchml.tools.request_error import RequestError

# What gives features that a layer of NequIP gathers by the neighbour of each edge.
_GATHERED = "linear_1"
_LAYER, _ALLEGRO, _ENERGY_AND_FORCES = "ConvNetLayer", "Allegro_Module", "ForceStressOutput"
# Networks without layers, whose energies depend on neighbours alone.
_PAIRS = ("ZBL", "LennardJones", "SimpleLennardJones")
_ALONE = "sole_model"
# What edges beyond the cutoff of their pair of elements may add, eV: sums of more zeros may be rounded otherwise.
_NOTHING = {torch.float64: 1e-10, torch.float32: 1e-5}
_POINTS = 24


class NequIPEdges(torch.nn.Module):
    """A network of NequIP or Allegro as one of the kind edges."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV."""
        data: dict[str, torch.Tensor] = {
            "atom_types": species,
            "edge_index": edge_index,
            "edge_vectors": edge_vectors,
            # Only how many there are is used.
            "pos": torch.zeros((species.shape[0], 3), dtype=edge_vectors.dtype, device=edge_vectors.device),
        }
        return self.network(data)["atomic_energy"].view(-1)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class NequIPFacts:
    """What a network says of itself.

    Attributes:
        atomic_numbers: of the elements that it knows, in the order of its codes.
        cutoff: the largest cutoff of any pair of elements, Å.
        pair_cutoffs: cutoff of each pair of elements, shape [elements, elements], Å; None where all are the same.
        layers: how often it passes messages.
        dtype: the type that it computes in.
        is_allegro: whether it is one of Allegro.
    """

    atomic_numbers: tuple[int, ...]
    cutoff: float
    pair_cutoffs: torch.Tensor | None
    layers: int
    dtype: torch.dtype
    is_allegro: bool


def built(described: NequIPNetwork, dtype: torch.dtype | None) -> Any:
    """Return the network that a checkpoint describes, with its weights.

    Args:
        described: What was read and checked.
        dtype: Type that it is to compute in; None for the checkpoint's.
    Raises:
        DriverError: If a package is missing.
    """
    place, _, name = described.builder.rpartition(".")
    if importlib.util.find_spec(place.partition(".")[0]) is None:
        raise DriverError(
            "the network is one of Allegro, and nequip-allegro is not installed here; install nequip-allegro==0.8.3, "
            "or say --isolated for a temporary environment"
        )
    arguments = dict(described.arguments)
    changes = dtype is not None and type_word(dtype) != arguments.get("model_dtype")
    if dtype is not None:
        arguments["model_dtype"] = type_word(dtype)
    with _package_state():
        from nequip.model import modify, override_model_compile_mode

        with override_model_compile_mode("eager"):
            network = getattr(importlib.import_module(place), name)(**arguments)
        network = modify(network, list(described.modifiers))
    _load_weights(network, described, changes)
    return network.eval().requires_grad_(False)


@contextmanager
def _package_state() -> Iterator[None]:
    """Let the package set up what it needs of the process, but leave torch's default type as it was."""
    from nequip.utils.global_state import set_global_state

    with default_dtype(torch.get_default_dtype()):
        set_global_state()
        yield


def _load_weights(network: torch.nn.Module, described: NequIPNetwork, changes: bool) -> None:
    """Put weights into a network.

    Args:
        network: The network.
        described: Where they are from.
        changes: Whether the network computes in another type than that which they are from.
    """
    own, weights = network.state_dict(), dict(described.weights)
    parameters = dict(network.named_parameters())
    if changes and own.keys() == weights.keys():
        # Constants of the other type are rounded, or were: these are the network's own.
        kept = (name for name in own if name not in parameters and own[name].dtype != weights[name].dtype)
        weights |= {name: own[name] for name in kept}
    network.load_state_dict(weights, strict=True)
    if described.averages is None:
        return
    shapes = [tuple(each.shape) for each in parameters.values()]
    if shapes != [tuple(each.shape) for each in described.averages]:
        raise ValueError("its averaged weights are not those of its network")
    with torch.no_grad():
        for parameter, average in zip(parameters.values(), described.averages, strict=True):
            parameter.copy_(average)


def packaged_network(path: Path) -> Any:
    """Return the network of a package, which runs code of the package.

    Raises:
        DriverError: If it holds several networks.
    """
    with _package_state():
        from nequip.model import ModelFromPackage

        networks = ModelFromPackage(str(path), compile_mode="eager")
    names = list(networks.keys())
    if names != [_ALONE]:
        raise DriverError(f"{path} must hold one network, got {', '.join(names)}; package one of them alone")
    return networks[_ALONE].eval().requires_grad_(False)


def energies_alone(network: Any) -> NequIPEdges:
    """Return a network of the kind edges: without what computes forces, and with exchanges; the network is changed."""
    if type(network.model).__name__ == _ENERGY_AND_FORCES:
        network.model = network.model.func
    layers = [each for each in network.modules() if type(each).__name__ == _LAYER]
    # What the first layer takes depends on species alone.
    for layer in layers[1:]:
        exchange_what_comes_of(layer.conv, _GATHERED)
    return NequIPEdges(network).eval()


def facts_of(network: Any, path: Path) -> NequIPFacts:
    """Return what a network says of itself.

    Raises:
        DriverError: If it has types that are no elements, or it is not known how far its messages go.
    """
    said = network.metadata
    kinds = [type(each).__name__ for each in network.modules()]
    layers, is_allegro = kinds.count(_LAYER), _ALLEGRO in kinds
    if bool(layers) == is_allegro and (layers or not any(each in kinds for each in _PAIRS)):
        raise DriverError(
            f"the network in {path} must be one of NequIP or of Allegro, got another one, of which it is not known how "
            "far its messages go; it cannot be converted"
        )
    names, cutoff, cutoffs = said["type_names"].split(), float(said["r_max"]), None
    if said.get("per_edge_type_cutoff"):
        values = [float(each) for each in said["per_edge_type_cutoff"].split()]
        cutoffs = torch.tensor(values, dtype=torch.float64, device="cpu").reshape(len(names), len(names))
        cutoff = float(cutoffs.max())
    dtype = {"float32": torch.float32, "float64": torch.float64}[said["model_dtype"]]
    return NequIPFacts(numbers_of_types(names, path), cutoff, cutoffs, max(layers, 1), dtype, is_allegro)


def numbers_of_types(names: list[str], path: Path) -> tuple[int, ...]:
    """Return the atomic numbers of the types of atoms that a network knows.

    Raises:
        RequestError: If they are no elements.
    """
    others = [each for each in names if each not in SYMBOLS]
    if others or len(set(names)) != len(names):
        raise RequestError(
            f"the types of atoms in {path} must be symbols of elements, each once, as simulators know elements alone; "
            f"got {', '.join(names[:12])}; train the network with type_names that are"
        )
    return tuple(SYMBOLS.index(each) + 1 for each in names)


def check_pair_cutoffs(module: torch.nn.Module, facts: NequIPFacts) -> None:
    """Check that edges longer than the cutoff of their pair of elements add nothing: the package leaves them out.

    Raises:
        DriverError: If they do, as an activation makes something of nothing.
    """
    if facts.pair_cutoffs is None:
        return
    random = np.random.default_rng(7)
    side = 0.8 * facts.cutoff
    places = torch.as_tensor(random.uniform(-side, side, (_POINTS, 3)), dtype=torch.float64, device="cpu")
    species = torch.arange(_POINTS, dtype=torch.int64, device="cpu") % len(facts.atomic_numbers)
    centres, neighbours = torch.nonzero(~torch.eye(_POINTS, dtype=torch.bool, device="cpu"), as_tuple=True)
    vectors = places[neighbours] - places[centres]
    lengths, cutoffs = vectors.norm(dim=1), facts.pair_cutoffs[species[centres], species[neighbours]]
    edges = torch.stack((centres, neighbours))

    def energies(which: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = module(species, edges[:, which].contiguous(), vectors[which].contiguous())
        return found

    wanted = energies(lengths <= cutoffs)
    difference = float((energies(lengths <= facts.cutoff) - wanted).abs().max())
    if not difference <= _NOTHING[facts.dtype] * max(1.0, float(wanted.abs().max())):
        raise DriverError(
            "the network must take neighbours beyond the cutoff of their pair of elements for none, got "
            f"{difference:.1g} eV from them: an activation is not 0 at 0, such as softplus; it cannot be converted"
        )


def calculator_of(network: Any, facts: NequIPFacts) -> Any:
    """Return the package's own calculator of a network that computes forces."""
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms

    names = [SYMBOLS[number - 1] for number in facts.atomic_numbers]
    cutoff = float(network.metadata["r_max"])
    transforms = basic_transforms(network.metadata, cutoff, names, {each: each for each in names})
    return NequIPCalculator(network, "cpu", transforms=transforms)


def scripted(module: torch.nn.Module) -> torch.jit.ScriptModule:
    """Return a network as TorchScript."""
    import e3nn.util.jit

    found: torch.jit.ScriptModule = e3nn.util.jit.script(module)
    return found
