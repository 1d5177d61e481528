# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a model counts particles that do not contribute, which gives wrong energies in every periodic system."""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import torch

from kim_torchml.engines.contract import Program
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import evaluate
from kim_torchml.evaluation.probe_configurations import SCALES, ProbeShape, probe_particles, with_distant_particles
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.inputs import InputKind, Particles

# Differences of energies beyond these, eV per max(1 eV, energy), are no rounding. A model that takes and returns double
# precision may compute in single precision all the same.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3}
_TOLERANCE_OF_OTHERS = 5e-2
# The nearest particles of a probe are half a cutoff apart: times this, none is within another's cutoff.
_APART = 4.0

_CONSEQUENCE = "so it gives wrong energies in periodic systems and on several ranks"


def doubts_about_mask(program: Program, kind: InputKind, shape: ProbeShape, layout: EnergyLayout) -> tuple[str, ...]:
    """Return what speaks for a model that counts particles that do not contribute, one sentence at most.

    Args:
        program: The model.
        kind: What its inputs are built by.
        shape: Shape of a probe that the model can compute.
        layout: What the entries of its energy stand for.
    """
    # A model that fails in one of these configurations reports that itself when a simulator comes across one.
    with suppress(DriverError):
        probe = _Probe(program, kind, shape, layout)
        for found in _signs(probe, probe.energy_of_interacting_particles()):
            return (f"the energy of the model in {program.file_name} {found}, {_CONSEQUENCE}; {kind.remedy_of_doubt}",)
    return ()


class _Probe:
    """Energies of a model in variations of one configuration, whose particles are of as many species as there are."""

    def __init__(self, program: Program, kind: InputKind, shape: ProbeShape, layout: EnergyLayout) -> None:
        self._program, self._kind, self._shape, self._layout = program, kind, shape, layout
        self._species_codes = np.arange(len(shape.positions)) % kind.n_species
        self._scale = SCALES[0]

    def energy_of_interacting_particles(self) -> float:
        """Return the energy at the first scale where it is another than far apart, and stay there.

        If there is none, particles stay at the first scale.
        """
        apart = self._energy_at(_APART)
        for scale in SCALES:
            energy = self._energy_at(scale)
            if self.differ(apart, energy):
                return energy
        return self._energy_at(SCALES[0])

    def _energy_at(self, scale: float) -> float:
        self._scale = scale
        return self.energy(self.plain())

    def particles(self, contributing: np.ndarray) -> Particles:
        return probe_particles(self._shape, self._kind.cutoff, self._scale, self._species_codes, contributing)

    def plain(self) -> Particles:
        return self.particles(self._shape.contributing)

    def with_distant_particles(self) -> Particles:
        # Each is out of reach of every other, whatever the number of layers.
        return with_distant_particles(self.plain(), 2.0 * self._kind.influence_distance + 1.0, self._kind.n_species)

    def energy(self, particles: Particles) -> float:
        inputs = self._kind.build(particles, self._program.dtype, self._program.device)
        return float(evaluate(self._program, inputs, particles, self._layout, wanted=set()).energy)

    def differ(self, first: float, second: float) -> bool:
        tolerance = _TOLERANCE.get(self._program.dtype, _TOLERANCE_OF_OTHERS)
        return abs(first - second) > tolerance * max(1.0, abs(first), abs(second))


def _signs(probe: _Probe, energy: float) -> Iterator[str]:
    """Yield what was found, as the end of a sentence about the model's energy, which is that of the plain probe."""
    for sign in (_change_by_distant_particles, _difference_from_the_sum):
        # The other one may be found in a model that fails in one of the two.
        with suppress(DriverError):
            found = sign(probe, energy)
            # Of a model that gives another energy every time, or some time later, nothing can be said.
            if found and not probe.differ(energy, probe.energy(probe.plain())):
                yield found


def _change_by_distant_particles(probe: _Probe, energy: float) -> str:
    with_others = probe.energy(probe.with_distant_particles())
    if not probe.differ(energy, with_others):
        return ""
    return f"changes by {with_others - energy:.6g} eV where particles that do not contribute are added out of reach"


def _difference_from_the_sum(probe: _Probe, energy: float) -> str:
    contributing = probe.plain().contributing
    of_both = energy + probe.energy(probe.particles(~contributing))
    of_all = probe.energy(probe.particles(np.ones_like(contributing)))
    if not probe.differ(of_both, of_all):
        return ""
    return (
        f"is not the sum of what its particles contribute: {of_all:.6g} eV where all do, {of_both:.6g} eV as "
        "the sum of two calls in which one part and the other does"
    )
