# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model can give, found out by calling it on a small configuration before the first step."""

from contextlib import suppress
from dataclasses import dataclass
from itertools import product

from kim_torchml.engines.contract import Program
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import Quantity
from kim_torchml.evaluation.mask_probe import doubts_about_mask
from kim_torchml.evaluation.probe_configurations import FEW, MANY, SCALES, ProbeShape, probe_particles
from kim_torchml.evaluation.reach_probe import faults_of_reach
from kim_torchml.evaluation.returned_values import EnergyLayout, check_declared, check_forces, probe_layout
from kim_torchml.inputs import EdgeInputs, InputKind, PairKind, Particles


@dataclass(frozen=True)
class Capability:
    """What a model can give.

    Attributes:
        layout: what the entries of its energy stand for.
        quantities: what it gives beside the energy.
        doubts: sentences on what makes its results doubtful.
        faults: sentences on what makes them wrong.
    """

    layout: EnergyLayout
    quantities: frozenset[Quantity]
    doubts: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def find_capability(program: Program, kind: InputKind) -> Capability:
    """Return what a model can give.

    Args:
        program: The model.
        kind: What its inputs are built by.
    Raises:
        DriverError: If the model fails, or returns what its files do not say.
    """
    try:
        return _probe(program, kind, FEW)
    except DriverError as error:
        # A model may need more neighbours than the few have. If it does not, what it does with few is easier to read.
        with suppress(DriverError):
            return _probe(program, kind, MANY)
        hints = "".join(f"; {hint}" for hint in (kind.description, _dtype_hint(program, kind)) if hint)
        raise DriverError(f"{error}{hints} (found by a probe with {FEW})") from error


def _dtype_hint(program: Program, kind: InputKind) -> str:
    """Return what to know of a model that fails where its files state another floating type than its tensors have."""
    own = {each.dtype for each in program.tensors().values() if each.is_floating_point()}
    if kind.model.dtype is None or not own or program.dtype in own:
        return ""
    found = ", ".join(sorted(str(each).removeprefix("torch.") for each in own))
    return f'{kind.model.source} says dtype = "{kind.model.dtype}", and the model\'s own tensors are of {found}'


def _probe(program: Program, kind: InputKind, shape: ProbeShape) -> Capability:
    particles = probe_particles(shape, kind.cutoff)
    inputs = kind.build(particles, program.dtype, program.device)
    result = program.run(inputs, wants_gradient=True)
    is_of_rows = kind.file_format.one_energy_per_row
    layout = probe_layout(result.energies, inputs.n_rows, particles.n_contributing, program.file_name, is_of_rows)
    check_declared(layout, kind.model, program.file_name)
    quantities = set() if layout is EnergyLayout.TOTAL else {Quantity.PARTICLE_ENERGIES}
    if result.forces is not None:
        check_forces(result.forces, inputs.n_rows, program.file_name)
        quantities |= {Quantity.FORCES, Quantity.VIRIAL}
    elif result.gradient is not None or _can_be_differentiated(program, kind, shape):
        quantities |= {Quantity.FORCES, Quantity.VIRIAL}
        if isinstance(kind, PairKind) or inputs.edges is not None:
            quantities.add(Quantity.PARTICLE_VIRIALS)
    doubts = doubts_about_mask(program, kind, shape, layout)
    if isinstance(kind, EdgeInputs):
        # Such a model knows nothing of the particles that do not contribute: what it gets wrong of them is no choice.
        faults = faults_of_reach(program, kind, layout) or doubts
        return Capability(layout, frozenset(quantities), faults=faults)
    return Capability(layout, frozenset(quantities), doubts)


def _can_be_differentiated(program: Program, kind: InputKind, shape: ProbeShape) -> bool:
    """Return whether autograd leads from the energy to the leaf for any species: not all of them need interact."""

    def leads_to_leaf(particles: Particles) -> bool:
        inputs = kind.build(particles, program.dtype, program.device)
        return program.run(inputs, wants_gradient=True).gradient is not None

    return any(
        leads_to_leaf(probe_particles(shape, kind.cutoff, scale, code))
        for code, scale in product(range(kind.n_species), SCALES)
    )
