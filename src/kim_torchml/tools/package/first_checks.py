# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is checked of every model that is written: energies beside the module's own, forces, and atoms alone."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kim_torchml.errors import DriverError
from kim_torchml.evaluation.exchange_probe import fault_of_exchange
from kim_torchml.inputs import EdgeInputs
from kim_torchml.tools.kim_host.particles import AtomsAndImages
from kim_torchml.tools.kim_host.structure import Floats
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.check_model import measurement_of
from kim_torchml.tools.model_check.checks import check_cutoff, check_isolated_atom, check_no_edges, without_neighbours
from kim_torchml.tools.model_check.image_checks import check_reach
from kim_torchml.tools.model_check.loaded_model import Computed, LoadedModel
from kim_torchml.tools.model_check.slopes import slopes_of
from kim_torchml.tools.model_check.trial import Trial, alone
from kim_torchml.tools.package.direct_energies import (
    energies_of_periodic_graph,
    energies_of_same_inputs,
    has_periodic_graph,
)

# Nothing but the way in which sums are made may differ: less is allowed than where particles come in another order.
_CLOSER = 0.1


# A line has room for so many species.
_MOST_NAMED = 12
# What a model may fail in and be of use still: its author learns of it.
_DOUBTFUL = (check_cutoff, check_isolated_atom, check_no_edges)


@dataclass(frozen=True)
class FirstChecks:
    """What the checks found.

    Attributes:
        lines: what was checked and how close it was, a line each.
        doubts: what the author should know although it is no error.
    """

    lines: tuple[str, ...]
    doubts: tuple[str, ...]


def check_first(model: LoadedModel, module: torch.nn.Module | None, progress: LateProgress) -> FirstChecks:
    """Check a model that was written and loaded again.

    Args:
        model: The model.
        module: The module that it was made from; None where there is a file alone.
        progress: What to tell how far this is.
    Raises:
        DriverError: If something disagrees, or particles without neighbours cannot be computed.
    """
    for doubt in model.doubts:
        raise DriverError(doubt)
    progress("structures", 0.1)
    trial = Trial(model, progress=lambda part: progress("forces", 0.2 + 0.6 * part))
    particles = model.particles(trial.structures.wire())
    computed = model.compute(particles)
    lines = [
        f"compared for {particles.n_atoms} atoms of {_named(model.species)}, periodic along one axis, with "
        f"{len(particles) - particles.n_atoms} images, {trial.structures.nearest:.3g} Å apart:"
    ]
    if module is not None:
        progress("energies", 0.15)
        lines += _beside_module(trial, module, particles, computed)
    progress("forces", 0.2)
    lines.append(_beside_differences(trial, particles))
    progress("reach", 0.75)
    _check_reach(trial)
    _check_exchanges(model)
    progress("particles without neighbours", 0.8)
    _check_without_neighbours(model)
    found = [measurement_of(check, trial) for check in _DOUBTFUL]
    return FirstChecks(tuple(lines), tuple(each.comment for each in found if each.holds is False))


def _named(species: Sequence[str]) -> str:
    return ", ".join(species) if len(species) <= _MOST_NAMED else f"{len(species)} species"


def _check_reach(trial: Trial) -> None:
    """Check that nothing acts on a particle from farther away than a model of edges says.

    The first call of a model looks for that too, but with fewer particles: a weak influence escapes it.

    Raises:
        DriverError: If something does.
    """
    if not has_periodic_graph(trial.model):
        return
    found = measurement_of(check_reach, trial)
    if found.holds is False:
        raise DriverError(
            f"the model in {trial.model.description.model_file} does not reach as far as was said: {found.comment}"
        )


def _check_exchanges(model: LoadedModel) -> None:
    """Check that a model that exchanges features between ranks does so before each layer that needs it.

    Raises:
        DriverError: If it does not: several ranks would refuse it.
    """
    program, kind = model.opened.program, model.inputs
    if program.n_exchanges and isinstance(kind, EdgeInputs) and (fault := fault_of_exchange(program, kind)):
        raise DriverError(fault)


def _check_without_neighbours(model: LoadedModel) -> None:
    """Check that atoms without neighbours can be computed: else a simulation ends when one leaves the others.

    Raises:
        DriverError: If it cannot.
    """
    cases = {f"an atom of {symbol} alone": alone(code) for code, symbol in enumerate(model.species)}
    particles = without_neighbours(model)
    cases[f"{len(particles)} particles out of each other's cutoff"] = particles
    for what, case in cases.items():
        try:
            model.compute(case)
        except DriverError as error:
            raise DriverError(
                f"the model must compute particles without neighbours, as simulations come across them, but for {what} "
                f"{error}"
            ) from error


def _beside_module(
    trial: Trial, module: torch.nn.Module, particles: AtomsAndImages, computed: Computed
) -> Iterator[str]:
    model, name = trial.model, type(module).__name__
    limit = _CLOSER * trial.tolerance * trial.energy_scale(computed, particles)
    if computed.energies is None:
        what, found, limit = "energy", np.array([computed.energy]), limit * math.sqrt(particles.n_atoms)
    else:
        what, found = "energies per particle", computed.energies[: particles.n_atoms]
    expected = energies_of_same_inputs(module, model, particles)
    advice = "look for what the model file does otherwise than Python"
    difference = _difference(model, found, expected, limit, f"{name} for the same tensors", advice)
    yield f"  {what}: {difference:.1e} eV from {name} itself (allowed: {limit:.0e})"
    if has_periodic_graph(model):
        expected = energies_of_periodic_graph(module, model, particles)
        advice = (
            "correct `layers` or `cutoff`, or the module: an energy may depend only on what edges lead to in as many "
            "steps as there are layers"
        )
        difference = _difference(model, found, expected, limit, f"{name} for a periodic graph without images", advice)
        yield f"  {what}: {difference:.1e} eV from {name} for the periodic graph without images"


def _difference(model: LoadedModel, found: Floats, expected: Floats, limit: float, whose: str, advice: str) -> float:
    """Return the greatest difference of energies, eV.

    Args:
        model: The model.
        found: Its energies.
        expected: Those of the module.
        limit: The largest difference that is allowed, eV.
        whose: Which module's they are and for what, for the message.
        advice: What to do about a difference.
    Raises:
        DriverError: If there is a larger one.
    """
    if found.shape == expected.shape:
        difference = np.abs(found - expected)
        if difference.max() <= limit:
            return float(difference.max())
        worst = int(difference.argmax())
        got = f"{found[worst]:.10g} eV instead of {expected[worst]:.10g} eV"
    else:
        got = f"{len(found)} energies instead of {len(expected)}"
    raise DriverError(
        f"the energies of the model in {model.description.model_file}, run as the driver runs it, must be those of the "
        f"module {whose}, got {got}; {advice}"
    )


def _beside_differences(trial: Trial, particles: AtomsAndImages) -> str:
    model, slopes = trial.model, slopes_of(trial, particles)
    file_name = model.description.model_file
    if not model.gives_forces:
        if slopes.scale > slopes.limit_of_none:
            raise DriverError(
                f"the energy of the model in {file_name} must depend on {model.inputs.leaf} through autograd, got none "
                "that does, so there are no forces; do not detach or convert them in the model"
            )
        return "  the energy does not depend on coordinates, and the model gives no forces"
    if slopes.error > slopes.limit:
        raise DriverError(
            f"the forces of the model in {file_name} must be minus the derivative of its energy, got a difference of "
            f"{slopes.difference:.2g} eV/Å beside a largest force of {slopes.largest_force:.2g} eV/Å; look for what is "
            "detached, not smooth, or rounded in the model"
        )
    return (
        f"  forces: {slopes.difference:.1e} eV/Å from differences of the energy along {slopes.count} directions "
        f"(largest force: {slopes.largest_force:.2g})"
    )
