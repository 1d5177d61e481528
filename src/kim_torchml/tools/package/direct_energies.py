# SPDX-License-Identifier: LGPL-2.1-or-later
"""The energies that a module itself gives, called in Python as its author calls it, without driver and file."""

from collections.abc import Sequence

import numpy as np
import torch

from kim_torchml.driver.host_modes import without_host_modes
from kim_torchml.engines.errors import reason_of
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.inputs import EdgeInputs
from kim_torchml.tools.kim_host.particles import AtomsAndImages
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.model_check.loaded_model import LoadedModel, as_seen
from kim_torchml.tools.package.given_module import device_of, evaluated


@without_host_modes
def energies_of_same_inputs(module: torch.nn.Module, model: LoadedModel, particles: AtomsAndImages) -> Floats:
    """Return the energies of a module for the tensors that the driver would call it with.

    Args:
        module: The module.
        model: The same, as the driver has it.
        particles: Atoms and their images.
    Returns:
        Energy of each atom, shape [atoms], eV; the total, shape [1], where the module returns that.
    Raises:
        DriverError: If the module fails.
    """
    inputs = model.inputs.build(as_seen(particles), model.dtype, device_of(module))
    energies = _called(module, inputs.arguments)
    return _numpy(energies[inputs.contributing_rows] if model.layout is EnergyLayout.ALL else energies)


@without_host_modes
def energies_of_periodic_graph(module: torch.nn.Module, model: LoadedModel, particles: AtomsAndImages) -> Floats:
    """Return the energies of a module of the kind edges for a graph that has atoms alone as its rows.

    Edges lead to the atoms that images belong to, and have vectors to the images: networks are trained on such graphs.
    With so many layers as its files say, a model gets the same energies from images.

    Args:
        module: The module.
        model: The same, as the driver has it; its kind is edges.
        particles: Atoms and their images.
    Returns:
        Energy of each atom, shape [atoms], eV.
    Raises:
        DriverError: If the module fails.
    """
    device, atoms = device_of(module), particles.coordinates[: particles.n_atoms]
    distances = np.linalg.norm(atoms[:, None] - particles.coordinates[None], axis=2)
    distances[np.arange(len(atoms)), np.arange(len(atoms))] = np.inf
    centres, neighbours = np.nonzero(distances <= model.inputs.cutoff)
    vectors = particles.coordinates[neighbours] - atoms[centres]
    arguments = (
        model.inputs.species(particles.codes[: len(atoms)], device),
        torch.from_numpy(np.stack([centres, particles.owners[neighbours]])).to(device),
        torch.from_numpy(vectors).to(device, model.dtype).requires_grad_(True),
    )
    return _numpy(_called(module, arguments))


def has_periodic_graph(model: LoadedModel) -> bool:
    """Return whether a model is of a kind that can be called with a periodic graph."""
    return isinstance(model.inputs, EdgeInputs)


def _called(module: torch.nn.Module, arguments: Sequence[torch.Tensor]) -> torch.Tensor:
    try:
        with evaluated(module):
            returned = module(*arguments)
    # The code is the author's, and may raise anything.
    except Exception as error:
        raise DriverError(
            f"the module {type(module).__name__} must take {len(arguments)} tensors as the driver gives them, got an "
            f"error when it was called: {reason_of(error)}; correct the module, or what was said of it"
        ) from error
    energies = returned[0] if isinstance(returned, tuple) and returned else returned
    if not isinstance(energies, torch.Tensor):
        raise DriverError(
            f"the module {type(module).__name__} must return a tensor, the energies, got a {type(energies).__name__}; "
            "return the tensor itself"
        )
    return energies.detach().reshape(-1)


def _numpy(tensor: torch.Tensor) -> Floats:
    return tensor.to("cpu", torch.float64).numpy()
