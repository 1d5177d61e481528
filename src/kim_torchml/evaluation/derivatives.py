# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forces and virials out of what a program gives: its own forces, or dE/d(leaf), which only this module negates."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from kim_torchml.engines.contract import Program, ProgramResult
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.returned_values import check_forces, to_numpy
from kim_torchml.evaluation.virials import virial_of_edges, virial_of_forces, virials_of_pairs
from kim_torchml.inputs import EdgeSet, ModelInputs, Particles


class Derivatives(ABC):
    """Forces and virials of one call."""

    @abstractmethod
    def forces(self) -> np.ndarray:
        """Return the partial forces on all particles, shape [n, 3], float64, eV/Å."""

    @abstractmethod
    def virial(self) -> np.ndarray:
        """Return the partial virial, shape [6], float64, eV."""

    def particle_virials(self) -> np.ndarray | None:
        """Return the partial particle virials, shape [n, 6], float64, eV; None where this call does not give them."""
        return None


class _OfCoordinates(Derivatives):
    """The leaf is coordinates of rows: its derivative is forces, and the virial follows from these."""

    def __init__(self, forces: np.ndarray, coordinates: np.ndarray) -> None:
        self._forces = forces
        self._coordinates = coordinates

    def forces(self) -> np.ndarray:
        return self._forces

    def virial(self) -> np.ndarray:
        return virial_of_forces(self._coordinates, self._forces)


@dataclass(frozen=True)
class _OfEdges(Derivatives):
    """The leaf is edge vectors: one backward pass gives forces and both virials.

    Attributes:
        gradient: derivative of the energy by each edge's vector, shape [E, 3], float64, on the program's device.
        edges: the edges.
        n: number of particles.
    """

    gradient: torch.Tensor
    edges: EdgeSet
    n: int

    def forces(self) -> np.ndarray:
        centres, neighbours = self._ends
        forces = self.gradient.new_zeros((self.n, 3))
        # On a CPU, torch adds numbers several times faster than rows of numbers.
        for along, gradient in zip(forces.T, self.gradient.T, strict=True):
            along.index_add_(0, centres, gradient).index_add_(0, neighbours, gradient, alpha=-1.0)
        return to_numpy(forces)

    def virial(self) -> np.ndarray:
        return virial_of_edges(self.gradient, self._tensor(self.edges.vectors))

    def particle_virials(self) -> np.ndarray:
        centres, neighbours = self._ends
        vectors = self._tensor(self.edges.vectors)
        return to_numpy(virials_of_pairs(self.gradient, vectors, centres, neighbours, self.n))

    @cached_property
    def _ends(self) -> torch.Tensor:
        """Particles at the centre and at the neighbour of each edge, shape [2, E]."""
        return self._tensor(self.edges.particles)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.gradient.device)


def derivatives_of(program: Program, inputs: ModelInputs, result: ProgramResult, particles: Particles) -> Derivatives:
    """Return the forces and virials of a call.

    Args:
        program: The model.
        inputs: What it was called with.
        result: What it returned; the derivative by the leaf was asked for.
        particles: What the inputs were made from.
    Raises:
        DriverError: If the energy depends on the leaf in a way that cannot be differentiated, or the model's own forces
            have a wrong shape.
    """
    n = len(particles)
    if result.forces is not None:
        forces = check_forces(result.forces, inputs.n_rows, program.file_name)
    else:
        gradient = gradient_by_leaf(program, inputs, result)
        if inputs.edges is not None:
            return _OfEdges(gradient.to(torch.float64), inputs.edges, n)
        forces = -gradient
    return _OfCoordinates(to_numpy(inputs.by_particle(forces, n)), particles.coordinates)


def gradient_by_leaf(program: Program, inputs: ModelInputs, result: ProgramResult) -> torch.Tensor:
    """Return the derivative of the energy by the leaf, in its shape; zeros where no particle can act on another.

    Raises:
        DriverError: If the energy depends on the leaf in a way that cannot be differentiated.
    """
    if result.gradient is not None:
        return result.gradient
    # A rank that calls the program more often than the others would wait for them for ever.
    if inputs.n_pairs == 0 or (inputs.joint_rows is None and _is_constant(program, inputs)):
        # Forces are the negative of it: 0.0 rather than -0.0.
        return torch.full_like(inputs.leaf, -0.0)
    of_edges = inputs.edges is not None
    leaf, other_way = ("edge vectors", "") if of_edges else ("coordinates", ", or let it return the forces itself")
    raise DriverError(
        f"the energy of the model in {program.file_name} does not depend on the {leaf} through autograd, so "
        f"there are no forces; do not detach or convert {leaf} in the model{other_way}"
    )


def _is_constant(program: Program, inputs: ModelInputs) -> bool:
    """Return whether a model's energies stay as they are when everything moves apart, beyond the model's own reach."""

    def energies(scale: float) -> torch.Tensor:
        arguments = tuple(scale * each.detach() if each.is_floating_point() else each for each in inputs.arguments)
        return program.run(replace(inputs, arguments=arguments), wants_gradient=False).energies

    return torch.equal(energies(1.0), energies(1.001))
