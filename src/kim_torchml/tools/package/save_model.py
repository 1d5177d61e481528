# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a module of torch to a KIM model, in one call: `kim_torchml.save_model`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kim_torchml.driver.parameters import ATTRIBUTE
from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.package.arguments import flag_of, path_of, word_of
from kim_torchml.tools.package.program_file import EXPORTED, SCRIPTED, program_file_of
from kim_torchml.tools.package.statement import Statement
from kim_torchml.tools.package.unfinished_folder import check_free
from kim_torchml.tools.package.written_model import WrittenModel, write_model


def save_model(
    module: torch.nn.Module, folder: str | os.PathLike[str], *,
    name: str, kind: str, species: Sequence[str], cutoff: float, layers: int = 1, species_as: str = "codes",
    energy: str = "per particle", dtype: str | torch.dtype | None = None, returns_forces: bool = False,
    descriptor: str | None = None, descriptor_file: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, str] | None = None, limits: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None, made_with: Mapping[str, str] | None = None,
    driver: str = DEFAULT_DRIVER_NAME, replace: bool = False, file_format: str | None = None,
) -> WrittenModel:  # fmt: skip
    """Write a module as a complete KIM model: model file, model.toml, CMakeLists.txt, kimspec.edn and README.md.

    Before the folder appears, what was written is loaded as the driver loads it. Its energies are compared with the
    module's own for a small periodic configuration, and its forces with differences of the energy. Atoms without
    neighbours are computed too, and what is doubtful, such as an energy that jumps at the cutoff, is said.

    Args:
        module: The module, or what torch.jit.script or torch.jit.trace has made of it. It stays as it is.
        folder: The folder, new or empty.
        name: KIM id of the model: letters, digits and underscores.
        kind: "none", "descriptor", "graph" or "edges": what the module's forward takes.
        species: Element symbols, in the order of their codes.
        cutoff: Cutoff, Å.
        layers: Number of message-passing layers of a graph or edges; 1 is strictly local. MPI ranks exchange features
            of edges where forward calls `features = torch.ops.kim_torchml.exchange(features)` before each layer but the
            first, on what it gathers by edge_index[1] (`import kim_torchml.engines` registers it; docs/parallel.md).
        species_as: "codes" or "atomic numbers": what the module gets as species.
        energy: "per particle" or "total": what the module returns, eV.
        dtype: Floating type of the module's inputs; by default that of its parameters.
        returns_forces: Whether the module returns (energy, forces) rather than the energy.
        descriptor: Name of the descriptor, for the kind descriptor.
        descriptor_file: Path of its file, which is copied.
        parameters: Tensors that simulators may read and set: description by dotted name. By default those of the
            module's attribute `kim_parameters`, if it has one.
        limits: smallest_distance (Å), most_neighbours and stop: beyond them the driver warns, or with stop refuses.
        about: title, authors (a list), doi, licence, description, trained_on.
        made_with: Versions of software beside torch, Python and kim-torchml, by name.
        driver: KIM id that the driver is installed under.
        replace: Whether the files of a model in the folder may be replaced; others and edited documents stay.
        file_format: "pt2", a program of torch.export, which the kind edges can have; or "pt", TorchScript. By default
            "pt2" where that can be made of the module and gives the same energies and gradients, else "pt"; what
            `print` shows of the result says why.
    Returns:
        What was written and checked; `print(...)` shows it.
    Raises:
        DriverError: If something is wrong or disagrees; then the folder is as it was.
    """
    if not isinstance(module, torch.nn.Module):
        raise DriverError(f"`module` must be a torch.nn.Module, got {type(module).__name__}; give the network itself")
    if file_format is not None:
        word_of(file_format, "file_format", (EXPORTED, SCRIPTED))
    stated = Statement(
        name, kind, species, cutoff, layers, species_as, energy, dtype, returns_forces, descriptor,
        descriptor_file, _chosen(module, parameters), limits, about, {} if made_with is None else made_with, driver,
    )  # fmt: skip
    path = path_of(folder, "folder")
    check_free(path, flag_of(replace, "replace"), "replace=True")
    stated.check()
    with LateProgress() as progress:
        program = program_file_of(module, stated.inputs(), file_format, progress)
        return write_model(stated, program, module, path, progress)


def _chosen(module: torch.nn.Module, parameters: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return descriptions of KIM parameters: those that were given, else the module's own, else None."""
    # A program of torch.export keeps tensors alone.
    own = getattr(module, ATTRIBUTE, None)
    return own if parameters is None and isinstance(own, dict) else parameters
