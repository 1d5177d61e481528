# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model can give, found out by calling it on a small configuration before the first step."""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch

from kim_torchml.engines.torchscript.program import ScriptModel
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import Quantity, depends_on_coordinates
from kim_torchml.evaluation.probe_configurations import FEW, MANY, ProbeShape, probe_particles
from kim_torchml.evaluation.returned_values import EnergyLayout, check_forces, probe_layout, split_result
from kim_torchml.inputs import InputKind, ModelInputs, PairKind, Particles, make_inputs
from kim_torchml.model_files.model_folder import ModelFolder

# A model may cut its interactions off before the cutoff of its parameter file: then nearer particles tell more.
_SCALES = (1.0, 0.6, 0.35)


@dataclass(frozen=True)
class Capability:
    """What a model can give.

    Attributes:
        layout: What the entries of its energy stand for.
        quantities: What it gives beside the energy.
    """

    layout: EnergyLayout
    quantities: frozenset[Quantity]


@lru_cache(maxsize=8)
def known_capability(script: ScriptModel, files: ModelFolder, atomic_numbers: bool) -> Capability:
    """Return what `probe_capability` does, which is asked once: for models that stay in memory anyway."""
    return probe_capability(script, files, atomic_numbers)


def probe_capability(script: ScriptModel, files: ModelFolder, atomic_numbers: bool) -> Capability:
    """Return what a model can give.

    Raises:
        DriverError: If the model fails, or returns what its parameter file does not say.
    """
    kind = make_inputs(files, atomic_numbers)
    with script.turn:
        return _probe_thoroughly(script, files, kind)


def _probe_thoroughly(script: ScriptModel, files: ModelFolder, kind: InputKind) -> Capability:
    try:
        return _probe(script, files, kind, FEW)
    except DriverError as error:
        # A model may need more neighbours than the few have. If it does not, what it does with few is easier to read.
        with suppress(DriverError):
            return _probe(script, files, kind, MANY)
        inputs = f"; {kind.description}" if kind.description else ""
        raise DriverError(f"{error}{inputs} (found by a probe with {FEW})") from error


def _probe(script: ScriptModel, files: ModelFolder, kind: InputKind, shape: ProbeShape) -> Capability:
    returns_forces, cutoff = files.parameters.returns_forces, files.parameters.cutoff

    def call(particles: Particles) -> tuple[torch.Tensor, torch.Tensor | None, ModelInputs]:
        inputs = kind.build(particles, script.dtype, script.device)
        return *split_result(script(*inputs.arguments), returns_forces, script.file_name), inputs

    particles = probe_particles(shape, cutoff)
    energy, forces, inputs = call(particles)
    layout = probe_layout(energy, len(particles), int(particles.contributing.sum()), script.file_name)
    quantities = set() if layout is EnergyLayout.TOTAL else {Quantity.PARTICLE_ENERGIES}
    if forces is not None:
        check_forces(forces, len(inputs.coordinates), script.file_name)
        return Capability(layout, frozenset(quantities | {Quantity.FORCES}))
    differentiable = depends_on_coordinates(energy, inputs, script)
    # Nor need all species interact.
    for code, scale in product(range(len(files.parameters.elements)), _SCALES):
        if not differentiable:
            energy, _, inputs = call(probe_particles(shape, cutoff, scale, code))
            differentiable = depends_on_coordinates(energy, inputs, script)
    if differentiable:
        quantities.add(Quantity.FORCES)
        if isinstance(kind, PairKind):
            quantities.add(Quantity.PARTICLE_VIRIALS)
    return Capability(layout, frozenset(quantities))
