# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that energies and forces are what physics says: finite, derivatives, symmetric, additive."""

from itertools import combinations_with_replacement

import numpy as np

from kim_torchml.errors import DriverError
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.model_check.loaded_model import Computed, LoadedModel, chosen
from kim_torchml.tools.model_check.outcome import Measurement, measured
from kim_torchml.tools.model_check.slopes import slopes_of
from kim_torchml.tools.model_check.trial import Trial, alone

# A model of many species is not asked about all pairs of them.
_MOST_PAIRS = 40
# Particles beyond this many cutoffs are no neighbours.
_APART = 1.1
# Distances just below and above the cutoff, relative to it, and how much the energy may jump between them, relatively.
_BESIDE, _LARGEST_JUMP = 1e-6, 1e-6


def check_cutoff(trial: Trial) -> Measurement:
    """Check that the energy of two particles does not jump where they leave each other's cutoff."""
    model, cutoff = trial.model, trial.model.inputs.cutoff
    error, scale = 0.0, trial.energy_scale(model.compute(trial.cluster, forces=False), trial.cluster)
    for pair in _pairs(trial):
        sides = [_row_of(pair, factor * cutoff) for factor in (1.0 - _BESIDE, 1.0 + _BESIDE)]
        inside, outside = (model.compute(each, forces=False) for each in sides)
        error = max(error, abs(inside.energy - outside.energy) / scale)
    return measured(
        error,
        max(trial.tolerance, _LARGEST_JUMP),
        f"the energy goes to that of atoms alone at the cutoff, {cutoff:g} Å",
        f"the energy jumps at the cutoff, {cutoff:g} Å: it is too small, or nothing lets the energy go to zero there",
    )


def check_energies(trial: Trial) -> Measurement:
    """Check that the model gives finite energies, one for each particle."""
    model = trial.model
    dimers = [_row_of(pair, trial.structures.nearest) for pair in _pairs(trial)]
    particles = [trial.cluster, model.particles(trial.structures.wire()), *dimers]
    for each in particles:
        model.compute(each)
    of = {
        EnergyLayout.ALL: "one per particle",
        EnergyLayout.CONTRIBUTING: "one per contributing particle",
        EnergyLayout.TOTAL: "the total alone, so simulators get no energies by particle",
    }
    return Measurement(True, f"{of[model.layout]}; finite in {len(particles)} configurations")


def check_forces(trial: Trial) -> Measurement:
    """Check forces, also those on images, against differences of the energy."""
    model = trial.model
    particles = model.particles(trial.structures.wire())
    slopes = slopes_of(trial, particles)
    if not model.gives_forces:
        if slopes.scale <= slopes.limit_of_none:
            return Measurement(None, "the energy does not depend on coordinates, and the model gives no forces")
        return Measurement(
            False, "the energy depends on coordinates, but not through autograd, so there are no forces", None, None
        )
    return measured(
        slopes.error,
        slopes.limit,
        f"forces are minus the derivative of the energy, along {slopes.count} directions",
        "forces are not minus the derivative of the energy",
    )


def check_permutation(trial: Trial) -> Measurement:
    """Check that nothing depends on the order of particles."""
    model, particles = trial.model, trial.mixed
    expected = model.compute(particles)
    error = 0.0
    for _ in range(3):
        order = trial.random.permutation(len(particles))
        found = model.compute(chosen(particles, order))
        error = max(error, trial.difference(found, _taken(expected, order), chosen(particles, order)))
    return measured(
        error,
        trial.tolerance,
        "energies and forces are the same in any order of particles",
        "energies or forces depend on the order of particles",
    )


def check_rotation(trial: Trial) -> Measurement:
    """Check that forces turn with the particles, and that energies stay as they are."""
    return measured(
        _error_of_moving(trial, _rotation(trial.random)),
        trial.tolerance,
        "forces turn with the particles, and energies stay; also when shifted",
        "energies or forces change where all particles are turned or shifted",
    )


def check_mirror(trial: Trial) -> Measurement:
    """Check that a configuration has the energy and forces of its mirror image."""
    return measured(
        _error_of_moving(trial, -np.eye(3)),
        trial.tolerance,
        "a configuration and its mirror image have the same energies, and mirrored forces",
        "a configuration and its mirror image have other energies: the model tells left from right, as networks do "
        "whose features have no parity",
    )


def _error_of_moving(trial: Trial, matrix: Floats) -> float:
    """Return how far energies and forces are from what they must be after a rotation or reflection, and a shift."""
    model, particles = trial.model, trial.mixed
    expected = model.compute(particles)
    moved = particles.coordinates @ matrix.T + trial.random.uniform(-5.0, 5.0, 3)
    turned = KimParticles(moved, particles.codes, particles.contributing)
    forces = None if expected.forces is None else expected.forces @ matrix.T
    return trial.difference(model.compute(turned), Computed(expected.energy, expected.energies, forces), turned)


def check_isolated_atom(trial: Trial) -> Measurement:
    """Check that an atom alone has a finite energy and no force, also where others are out of reach."""
    model, error = trial.model, 0.0
    far = 2.0 * model.reach + 1.0
    for code, symbol in enumerate(model.species):
        one = alone(code)
        try:
            expected = model.compute(one)
        except DriverError as reason:
            return Measurement(False, f"an atom of {symbol} alone cannot be computed: {reason}")
        others = np.arange(len(model.species), dtype=np.int32)
        places = far * (1.0 + np.arange(len(others)))[:, np.newaxis] * np.array([1.0, 0.3, 0.1])
        with_others = KimParticles(
            np.concatenate([one.coordinates, places]),
            np.concatenate([one.codes, others]),
            np.concatenate([one.contributing, np.zeros(len(others), dtype=np.int32)]),
        )
        still = Computed(expected.energy, expected.energies, None if expected.forces is None else np.zeros((1, 3)))
        error = max(error, trial.difference(expected, still, one))
        error = max(error, trial.difference(_first(model.compute(with_others)), still, one))
    return measured(
        error,
        trial.tolerance,
        "an atom of each species alone has an energy and no force",
        "an atom alone has a force, or its energy changes with particles out of reach",
    )


def check_no_edges(trial: Trial) -> Measurement:
    """Check that particles without neighbours have the energies of atoms alone, and no forces."""
    model = trial.model
    particles = without_neighbours(model)
    codes = particles.codes.tolist()
    given = model.compute(particles)
    if len(trial.isolated) < len(model.species):
        return Measurement(None, "atoms alone, to compare with, cannot be computed")
    energies = np.array([trial.isolated[code] for code in codes])
    forces = None if given.forces is None else np.zeros((len(codes), 3))
    expected = Computed(float(energies.sum()), None if given.energies is None else energies, forces)
    return measured(
        trial.difference(given, expected, particles),
        trial.tolerance,
        f"{len(codes)} particles out of each other's cutoff have the energies of atoms alone, and no forces",
        f"{len(codes)} particles out of each other's cutoff have other energies than alone, or forces",
    )


def without_neighbours(model: LoadedModel) -> KimParticles:
    """Return two particles of each species, all out of each other's cutoff."""
    codes = [code for code in range(len(model.species)) for _ in range(2)]
    return _row_of(codes, _APART * model.inputs.cutoff)


def _pairs(trial: Trial) -> list[tuple[int, int]]:
    """Return the codes of pairs of species."""
    return list(combinations_with_replacement(range(len(trial.model.species)), 2))[:_MOST_PAIRS]


def _first(computed: Computed) -> Computed:
    """Return what was computed for the first particle."""
    return _taken(computed, np.arange(1))


def _taken(computed: Computed, order: np.ndarray) -> Computed:
    """Return a result with its particles in another order, or some of them."""
    energies, forces = computed.energies, computed.forces
    return Computed(
        computed.energy, None if energies is None else energies[order], None if forces is None else forces[order]
    )


def _row_of(codes: tuple[int, ...] | list[int], distance: float) -> KimParticles:
    """Return contributing particles of these species, each a distance (Å) from the next."""
    n = len(codes)
    along = np.array([1.0, 0.2, 0.1])
    places = np.arange(n)[:, np.newaxis] * (distance * along / np.linalg.norm(along))
    return KimParticles(places, np.array(codes, dtype=np.int32), np.ones(n, dtype=np.int32))


def _rotation(random: np.random.Generator) -> Floats:
    """Return a random rotation, shape [3, 3]."""
    matrix, triangle = np.linalg.qr(random.normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(triangle))
    return matrix if np.linalg.det(matrix) > 0.0 else -matrix
