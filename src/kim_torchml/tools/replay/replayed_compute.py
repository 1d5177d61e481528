# SPDX-License-Identifier: LGPL-2.1-or-later
"""A failed compute, done again with an installed model.

Coordinates, particleContributing and species codes that the model does not know go to the model as they were saved,
however wrong: they may be the reason of the failure.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kim_torchml.driver.failure_file import UNKNOWN_SPECIES
from kim_torchml.driver.output_shapes import ENERGY, FORCES, PARTICLE_ENERGIES
from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.tools.kim_host.model import ComputeFailedError, KimModel, ModelError
from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.replay.failed_compute import FailedCompute
from kim_torchml.tools.replay.neighbours import neighbour_lists

# A distance that went through the simulator's unit of length and back is rounded, relative to its size.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ReplayedCompute:
    """What the model gave.

    Attributes:
        energy: energy, eV.
        forces: forces, shape [n, 3], eV/Å; None if the model does not give them.
        particle_energies: energies of the particles, shape [n], eV; None if the model does not give them.
    """

    energy: float
    forces: np.ndarray | None
    particle_energies: np.ndarray | None


def create_model(name: str, failed: FailedCompute) -> KimModel:
    """Create a model, and its compute arguments, because the driver does not load the model earlier.

    Args:
        name: its KIM id.
        failed: what is to be computed with it.
    Raises:
        DriverError: KIM cannot create it; if the driver has a reason of its own, it is on stderr by then.
    """
    # The configuration is in a file already, so a failure need not be saved again, and it is what replay reports on.
    for variable in (settings.DUMP, settings.ON_ERROR):
        os.environ.pop(variable, None)
    if failed.is_of_a_rank:
        os.environ[settings.EDGES] = settings.STAGED
    try:
        model = KimModel(name)
        # The property creates them.
        _ = model.arguments
    except ModelError as error:
        raise DriverError(
            f"KIM cannot create the model {name}: {error.__cause__ or error}; if no other line says why, see whether "
            "it is installed: kim-api-collections-management list"
        ) from error
    return model


def restore_parameters(model: KimModel, parameters: Mapping[str, Sequence[float]]) -> None:
    """Set parameters to what the simulator had set.

    Args:
        model: the model that failed.
        parameters: values by KIM's names.
    Raises:
        DriverError: The model does not have these parameters, or does not take the values.
    """
    for name, values in parameters.items():
        extent = model.parameters[name].extent if name in model.parameters else 0
        if extent != len(values):
            raise DriverError(
                f"the model {model.name} must have the parameter `{name}` with {len(values)} values, which was set "
                f"when this was saved, got {extent}; install the model as it was then"
            )
    model.set_parameters(parameters)
    for name, values in parameters.items():
        if not np.array_equal(model.parameter_values(name), values, equal_nan=True):
            raise DriverError(
                f"the model {model.name} must take the values of the parameter `{name}` that were set when this was "
                "saved, got a refusal, which another line on stderr explains; install the model as it was then"
            )


def compute_again(model: KimModel, failed: FailedCompute) -> ReplayedCompute | None:
    """Compute all that the model gives: a virial can fail where the forces do not.

    Args:
        model: any model that has the species.
        failed: the configuration.
    Returns:
        The results, or None if the compute failed; then the driver has said why on stderr.
    Raises:
        DriverError: The model does not have all of the species, or needs a deeper halo than was saved.
    """
    _check_reach(model, failed)
    particles = KimParticles(failed.coordinates, _species_codes(model, failed), failed.contributing)
    neighbours = neighbour_lists(failed.coordinates, max(model.cutoffs))
    model.arguments.prepare(particles, model.arguments.supported, neighbours)
    try:
        # What is not finite is shown as it is.
        results = model.arguments.run(finite=False)
    except ComputeFailedError:
        return None
    return ReplayedCompute(float(results[ENERGY][0]), results.get(FORCES), results.get(PARTICLE_ENERGIES))


def _check_reach(model: KimModel, failed: FailedCompute) -> None:
    """Check that the halo that was saved is as deep as the model needs it: with a shallower one the energy is wrong.

    Raises:
        DriverError: It is not.
    """
    saved, needed = failed.influence_distance, model.influence_distance
    if saved is None or needed <= saved * (1.0 + _ROUNDING):
        return
    is_staged_here = settings.edges_word() == settings.STAGED
    was_staged = f"{settings.EDGES}={settings.STAGED}".upper() in failed.facts.get("settings", "").upper()
    if failed.facts.get("model", model.name) != model.name:
        remedy = f"replay it with {failed.facts['model']}, which failed, or run the simulator with {model.name}"
    elif failed.is_of_a_rank:
        remedy = (
            "its rank had what is farther away from others, and computes nothing without them: run the simulator again "
            f"with {settings.EDGES}={settings.STAGED}, and replay what that saves"
        )
    elif is_staged_here and not was_staged:
        remedy = f"set {settings.EDGES}={settings.FOLDED} as then, or run the simulator again with the setting of now"
    else:
        remedy = "replay it with the model as it was then, or run the simulator again"
    raise DriverError(
        f"the configuration must have all particles within {needed:.6g} Å of contributing ones, as {model.name} needs "
        f"them here, got a file that was saved with {saved:.6g} Å; {remedy}"
    )


def _species_codes(model: KimModel, failed: FailedCompute) -> np.ndarray:
    """Return the model's codes for the species, int32, [n]; unknown species keep what the simulator gave.

    Raises:
        DriverError: The model does not have all of the species.
    """
    codes: np.ndarray = failed.species_codes.copy()
    symbols = np.array(failed.symbols)
    present = sorted(set(failed.symbols) - {UNKNOWN_SPECIES})
    if missing := [symbol for symbol in present if symbol not in model.species]:
        raise DriverError(
            f"the model {model.name} must have all species of the configuration, but lacks {', '.join(missing)}; "
            f"replay it with the model that failed ({failed.facts.get('model', 'see the file')})"
        )
    for symbol in present:
        codes[symbols == symbol] = model.species[symbol]
    return codes
