# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of a model's floating type, and that it repeats itself."""

import numpy as np
import torch

from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.evaluate import evaluate
from kim_torchml.tools.model_check.loaded_model import Computed, LoadedModel, as_seen, some_contribute
from kim_torchml.tools.model_check.outcome import Measurement, measured
from kim_torchml.tools.model_check.trial import Trial

# Scatter of the energy of a model of double precision, relative to the energy: a thousandth of single precision's.
_LEAST_PRECISE = 1e-10


def check_dtype(trial: Trial) -> Measurement:
    """Check that a model computes in the type that its files give for its inputs, and how far that rounds."""
    model = trial.model
    name = type_word(model.dtype)
    if model.dtype is torch.float64:
        return measured(
            trial.rounding,
            _LEAST_PRECISE,
            f"the energy is as smooth as {name} can be",
            f"inputs are {name}, but the energy scatters as in a lower precision: the model converts them, or has "
            f"tensors of a lower type (it has {_types_of_tensors(model)})",
        )
    given = model.compute(trial.cluster, forces=False)
    try:
        energy = _energy_in_double(trial)
    # Torch says in many ways that a program mixes types.
    except (DriverError, RuntimeError, TypeError, ValueError) as reason:
        return Measurement(True, f"inputs are {name}; the model cannot be run in float64 to compare ({reason})")
    error = trial.difference(given, Computed(energy, None, None), trial.cluster)
    return measured(
        error,
        trial.plain_tolerance,
        f"inputs are {name}; the same model in float64 gives the same energy",
        f"inputs are {name}, and the same model in float64 gives another energy: too much is lost by rounding",
    )


def check_repeatable(trial: Trial) -> Measurement:
    """Check that the same input gives the same bits, also after another one."""
    model, particles = trial.model, trial.mixed
    first = model.compute(particles)
    model.compute(some_contribute(particles, np.arange(1)))
    again = [model.compute(particles) for _ in range(2)]
    error = max(trial.difference(each, first, particles) for each in again)
    limit = 0.0 if model.repeats_bits else trial.tolerance
    return measured(
        error,
        limit,
        "the same input gives the same bits" if model.repeats_bits else "the same input gives the same, but for sums",
        "the same input gives other numbers next time: the model draws random numbers, or keeps something of a call",
    )


def _energy_in_double(trial: Trial) -> float:
    """Return the energy of the cluster by the same model in double precision, eV."""
    model = trial.model
    program = model.opened.program.in_double_precision()
    seen = as_seen(trial.cluster)
    inputs = model.inputs.build(seen, program.dtype, program.device)
    return float(evaluate(program, inputs, seen, model.layout, wanted=set()).energy)


def _types_of_tensors(model: LoadedModel) -> str:
    types = {each.dtype for each in model.opened.program.tensors().values() if each.is_floating_point()}
    return ", ".join(sorted(map(type_word, types))) or "none"
