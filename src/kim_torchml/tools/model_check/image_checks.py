# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that nothing depends on which particles contribute, on images, or on what is out of reach."""

from dataclasses import replace

import numpy as np

from kim_torchml.evaluation.reach_probe import MORE_LAYERS
from kim_torchml.inputs import EdgeInputs, InputKind
from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.kim_host.structure import Structure
from kim_torchml.tools.model_check.loaded_model import Computed, chosen, folded, some_contribute
from kim_torchml.tools.model_check.outcome import Measurement, measured
from kim_torchml.tools.model_check.trial import Trial

# Of a chain, what is farther from its contributing end than so much more than the model's reach is there for nothing.
_BEYOND = 1e-6


def check_images(trial: Trial) -> Measurement:
    """Check a periodic structure against one of twice its size, and against other images of its atoms."""
    structure = trial.structures.periodic()
    expected = _of_atoms(trial, structure)
    once = _atoms_alone(trial, structure)
    wrapped = _of_atoms(trial, _with_other_images(structure, trial.random))
    error = trial.difference(wrapped, expected, once)
    trial.progress(0.5)
    twice = _of_atoms(trial, structure.doubled(0))
    n = len(structure)
    for half in (slice(0, n), slice(n, 2 * n)):
        part = Computed(
            twice.energy / 2.0,
            None if twice.energies is None else twice.energies[half],
            None if twice.forces is None else twice.forces[half],
        )
        error = max(error, trial.difference(part, expected, once))
    axes = sum(structure.periodic)
    return measured(
        error,
        trial.tolerance,
        f"a cell (periodic along {axes} axes), other images of its atoms and two cells agree",
        "a periodic cell, the same with other images of its atoms, and two cells do not agree",
    )


def check_reach(trial: Trial) -> Measurement:
    """Check that nothing beyond the model's reach, layers x cutoff, acts on a particle."""
    model = trial.model
    cutoff = model.inputs.cutoff
    chain = model.particles(trial.structures.chain(model.reach + 1.5 * cutoff))
    along = chain.coordinates[:, 0]
    # A few particles at one end contribute; the other end is out of their reach.
    ends = np.argsort(along, kind="stable")[:3]
    seen = some_contribute(chain, ends)
    expected = model.compute(seen, inputs=_deeper(model.inputs))
    error = trial.difference(model.compute(seen), expected, seen)
    distances = np.linalg.norm(chain.coordinates[:, None] - chain.coordinates[ends][None], axis=2).min(axis=1)
    near = distances <= model.reach + _BEYOND
    cut = model.compute(chosen(seen, near))
    error = max(error, trial.difference(cut, _of_those(expected, near), chosen(seen, near)))
    layers = f"{model.description.n_layers} x {cutoff:g} Å" if model.description.has_layers else f"{cutoff:g} Å"
    return measured(
        error,
        trial.tolerance,
        f"nothing beyond {layers} acts on a particle ({int((~near).sum())} particles were there)",
        f"particles beyond {layers} change energies or forces: `layers` or the cutoff is too small, or the model sums "
        "over all rows",
    )


def check_contributing(trial: Trial) -> Measurement:
    """Check that parts in which some particles contribute add up to all of them."""
    model = trial.model
    reach = 2.0 * model.reach if model.description.has_layers else model.reach
    chain = model.particles(trial.structures.chain(reach + model.inputs.cutoff))
    expected = model.compute(chain)
    error = 0.0
    along = chain.coordinates[:, 0]
    for is_first in (along < np.median(along), trial.random.random(len(chain)) < 0.5):
        masks = (is_first, ~is_first)
        parts = [model.compute(some_contribute(chain, mask)) for mask in masks]
        error = max(error, trial.difference(_sum_of(*parts), expected, chain))
    return measured(
        error,
        trial.tolerance,
        "energies and forces of parts add up to those of the whole",
        "energies or forces depend on which other particles contribute: the model must leave those out that do not, or "
        "has more layers than stated",
    )


def _deeper(inputs: InputKind) -> InputKind:
    """Return a builder of inputs with edges that lead farther, where the kind has one set of them for all layers."""
    return inputs.with_layers(inputs.n_layers + MORE_LAYERS) if isinstance(inputs, EdgeInputs) else inputs


def _of_atoms(trial: Trial, structure: Structure) -> Computed:
    """Return energies and forces of a structure's atoms."""
    particles = trial.model.particles(structure)
    found = trial.model.compute(particles)
    return Computed(
        found.energy,
        None if found.energies is None else found.energies[: particles.n_atoms],
        None if found.forces is None else folded(particles, found.forces),
    )


def _atoms_alone(trial: Trial, structure: Structure) -> KimParticles:
    """Return a structure's atoms without images."""
    return trial.model.particles(replace(structure, periodic=(False, False, False)))


def _with_other_images(structure: Structure, random: np.random.Generator) -> Structure:
    """Return the same structure with images of every third atom, along the first axis, in their place."""
    shifted = np.zeros((len(structure), 3))
    shifted[random.permutation(len(structure))[::3], 0] = 1.0
    return structure.moved(structure.positions + shifted @ structure.cell)


def _of_those(computed: Computed, which: np.ndarray) -> Computed:
    return Computed(
        computed.energy,
        None if computed.energies is None else computed.energies[which],
        None if computed.forces is None else computed.forces[which],
    )


def _sum_of(first: Computed, second: Computed) -> Computed:
    return Computed(
        first.energy + second.energy,
        None if first.energies is None or second.energies is None else first.energies + second.energies,
        None if first.forces is None or second.forces is None else first.forces + second.forces,
    )
