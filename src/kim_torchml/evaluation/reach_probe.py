# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a model's energy depends on particles beyond the layers that its files state: it would be silently wrong."""

from contextlib import suppress

import torch

from kim_torchml.engines.contract import Program
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import evaluate
from kim_torchml.evaluation.probe_configurations import probe_chains
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.inputs import EdgeInputs, Particles

# Between the particles of a chain, in units of the cutoff. Only the next particle is a neighbour, whatever the kinks.
# It is near: what reaches a particle over several steps becomes the smaller the longer each step is.
_SPACING = 0.55
# So many layers more would show it; what comes from still deeper layers is smaller.
MORE_LAYERS = 3
# Differences of energies beyond these, eV per max(1 eV, energy), are no rounding.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
_TOLERANCE_OF_OTHERS = 1e-2


def faults_of_reach(program: Program, kind: EdgeInputs, layout: EnergyLayout) -> tuple[str, ...]:
    """Return what shows that a model has more layers than its files state, one sentence at most.

    Args:
        program: The model.
        kind: What its inputs are built by.
        layout: What the entries of its energy stand for.
    """
    chains = probe_chains(kind.n_layers + MORE_LAYERS + 1, _SPACING * kind.cutoff, kind.n_species)

    def energy(builder: EdgeInputs) -> float:
        particles = Particles(chains.coordinates, chains.species_codes, chains.contributing, chains.neighbours)
        inputs = builder.build(particles, program.dtype, program.device)
        return float(evaluate(program, inputs, particles, layout, wanted=set()).energy)

    # A model that fails here reports that itself when a simulator comes across such a configuration.
    with suppress(DriverError):
        stated, deeper = energy(kind), energy(kind.with_layers(kind.n_layers + MORE_LAYERS))
        tolerance = _TOLERANCE.get(program.dtype, _TOLERANCE_OF_OTHERS) * max(1.0, abs(stated), abs(deeper))
        # Of a model that gives another energy every time, nothing can be said.
        if abs(deeper - stated) > tolerance and abs(energy(kind) - stated) <= tolerance:
            return (
                f"the energy of the model in {program.file_name} must depend on nothing beyond {kind.n_layers} x "
                f"cutoff, as `layers` in {kind.model.file_name} says, got a change by {deeper - stated:.6g} eV where "
                "particles are added there; correct `layers`, the cutoff, or the model",
            )
    return ()
