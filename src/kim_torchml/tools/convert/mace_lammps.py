# SPDX-License-Identifier: LGPL-2.1-or-later
"""A `-lammps.pt` file of MACE, which mace_create_lammps_model has made for `pair_style mace`: TorchScript."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.torchscript.archive import inspect_archive
from kim_torchml.engines.torchscript.forbidden import check_node
from kim_torchml.engines.torchscript.graphs import graphs_of, nodes_of
from kim_torchml.engines.torchscript.loading import expected_deprecations, floating_type, load_module
from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.default_dtype import default_dtype
from kim_torchml.tools.convert.family import DOUBLE, Asked, Potential, note_on_authors
from kim_torchml.tools.convert.mace_edges import SINGLE, MaceEdges
from kim_torchml.tools.convert.mace_weights import published_as
from kim_torchml.tools.request_error import RequestError

_WANTED = ("model", "atomic_numbers", "r_max", "num_interactions")
_BESIDE = "what the network in {} itself gives when it is called as `pair_style mace` calls it"
_SUFFIX = "-lammps.pt"
_CPU = torch.device("cpu")


def potential_of_lammps_file(asked: Asked, what: str) -> Potential:
    """Return the network of a file that `look` has looked into.

    Args:
        asked: What is to be converted.
        what: What the file must be, for messages.
    Raises:
        DriverError: If it is damaged, or what it holds is not allowed or cannot be converted.
    """
    path = asked.path
    network = _loaded(path, what)
    if asked.dtype:
        network.to(getattr(torch, asked.dtype))
    dtype = floating_type(network, list(graphs_of(network)), str(path))
    head = int(network.head) if hasattr(network, "head") else 0
    name = _name_of_head(network, head, asked.head)
    numbers = tuple(int(each) for each in network.atomic_numbers)
    published = published_as(Path(path.name.removesuffix(_SUFFIX)))
    about = dict(published.about) if published else {"title": f"MACE of {path.name}"}
    notes: tuple[str, ...] = (note_on_authors(published.about["title"] if published else None),)
    if name:
        about["title"] = f"{about['title']}, head {name}"
        notes = (*notes, f"head: {name}, the one of several that {path.name} was made for")
    return Potential(
        module=MaceEdges(network.model, len(numbers), head).eval(),
        atomic_numbers=numbers,
        cutoff=float(network.r_max),
        layers=int(network.num_interactions),
        dtype=dtype,
        calculator=partial(CalledByLammps, network, numbers, dtype),
        closeness=DOUBLE if dtype == torch.float64 else SINGLE,
        script=_scripted,
        about=about,
        notes=notes,
        beside=_BESIDE.format(path.name),
        file_format="pt",
    )


def _loaded(path: Path, what: str) -> Any:
    """Return the TorchScript module of a file, checked as the driver checks what it runs."""
    content = path.read_bytes()
    inspect_archive(content, str(path))
    network = load_module(content, str(path), _CPU)
    graphs = list(graphs_of(network))
    for node in nodes_of(graphs):
        check_node(node, f"file {path}")
    if missing := [each for each in _WANTED if not hasattr(network, each)]:
        raise DriverError(
            f"`source` must be {what}, got {path}, whose network has no {missing[0]}; give the .model that it was "
            "made from"
        )
    return network


def _name_of_head(network: Any, head: int, asked: str | None) -> str:
    """Return the name of a file's head where its network has several; else an empty text.

    Raises:
        RequestError: If another one is asked for: which it is was said when the file was made.
    """
    heads = [str(each) for each in getattr(network.model, "heads", None) or []]
    name = heads[head] if head < len(heads) else ""
    if asked is not None and asked != name:
        made_for = f"'{name}', which the file was made for" if name else "left out for a file that names no heads"
        raise RequestError(f"`--head` must be {made_for}, got '{asked}'; convert the .model that it was made from")
    return name if len(heads) > 1 else ""


def _scripted(module: torch.nn.Module) -> torch.jit.ScriptModule:
    with expected_deprecations():
        found: torch.jit.ScriptModule = torch.jit.script(module)
    return found


class CalledByLammps(Calculator):
    """Calls a network as `pair_style mace no_domain_decomposition` does, with what LAMMPS needs made by ASE."""

    def __init__(self, network: Any, atomic_numbers: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces", "stress"]
        self._network, self._dtype = network, dtype
        self._numbers = np.array(atomic_numbers)

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute energy, forces and, of a crystal, the stress."""
        super().calculate(atoms, properties, system_changes)
        periodic = bool(atoms.pbc.all())
        local = self._tensor(np.ones(len(atoms)))
        try:
            # As in LAMMPS, where a number times an atomic number is of single precision.
            with default_dtype(torch.float32):
                returned = self._network(self._inputs(atoms), local, compute_virials=periodic)
        except (RuntimeError, torch.jit.Error) as error:
            raise DriverError(
                f"the network raises an error when it is called as `pair_style mace` calls it: {reason_of(error)}; "
                "make the file again with the version of mace-torch and torch that you have"
            ) from error
        self.results = {
            "energy": float(returned["total_energy_local"].detach()),
            "forces": returned["forces"].detach().numpy(),
        }
        if periodic:
            virial = returned["virials"].detach().numpy().reshape(3, 3)
            self.results["stress"] = -virial.ravel()[[0, 4, 8, 5, 2, 1]] / atoms.get_volume()

    def _inputs(self, atoms: Atoms) -> dict[str, torch.Tensor]:
        first, second, shifts = neighbor_list("ijS", atoms, float(self._network.r_max))
        codes = (atoms.numbers[:, None] == self._numbers).astype(float)
        return {
            "batch": torch.zeros(len(atoms), dtype=torch.int64, device=_CPU),
            "cell": self._tensor(atoms.cell.array),
            "edge_index": torch.tensor(np.array([first, second]), dtype=torch.int64, device=_CPU),
            "energy": self._tensor(np.zeros(1)),
            "forces": self._tensor(np.zeros((len(atoms), 3))),
            "node_attrs": self._tensor(codes),
            "positions": self._tensor(atoms.positions),
            "ptr": torch.tensor([0, len(atoms)], dtype=torch.int64, device=_CPU),
            "shifts": self._tensor(shifts @ atoms.cell.array),
            "unit_shifts": self._tensor(shifts),
            "weight": self._tensor(np.ones(1)),
        }

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.tensor(values, dtype=self._dtype, device=_CPU)
