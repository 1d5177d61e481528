# SPDX-License-Identifier: LGPL-2.1-or-later
"""All checks of a model's folder, in their order: what `kim_torchml.check_model` and `kim-torchml check` run."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.checks import (
    check_cutoff,
    check_energies,
    check_forces,
    check_isolated_atom,
    check_mirror,
    check_no_edges,
    check_permutation,
    check_rotation,
)
from kim_torchml.tools.model_check.image_checks import check_contributing, check_images, check_reach
from kim_torchml.tools.model_check.listed_files import files_of
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.model_check.outcome import CheckedModel, CheckedProperty, Measurement
from kim_torchml.tools.model_check.precision_checks import check_dtype, check_repeatable
from kim_torchml.tools.model_check.trial import Trial
from kim_torchml.tools.request_error import RequestError

# A new check is a function and a line here.
CHECKS: dict[str, Callable[[Trial], Measurement]] = {
    "energies": check_energies,
    "forces": check_forces,
    "cutoff": check_cutoff,
    "permutation": check_permutation,
    "rotation": check_rotation,
    "mirror": check_mirror,
    "isolated-atom": check_isolated_atom,
    "no-edges": check_no_edges,
    "images": check_images,
    "reach": check_reach,
    "contributing": check_contributing,
    "dtype": check_dtype,
    "repeatable": check_repeatable,
}


def check_model(folder: str | os.PathLike[str], *, seed: int = 0) -> CheckedModel:
    """Check a model's folder; neither KIM nor a simulator is needed.

    The folder is opened as the driver opens it. Where a check takes long and standard error is a terminal, a line there
    says how far it is.

    Args:
        folder: The folder, of either format.
        seed: Seed of all random numbers.
    Returns:
        What was found; `print(...)` shows it as a table, and `passed` tells whether all is well.
    Raises:
        DriverError: If the model cannot be opened, or fails when it is first called.
    """
    with LateProgress() as progress:
        return run_checks(Path(folder), seed, progress)


def run_checks(folder: Path, seed: int, progress: LateProgress) -> CheckedModel:
    """Check a model's folder; see `check_model`. `progress` is told how far this is."""
    started = time.monotonic()
    progress("opening the model", 0.0)
    model = load_folder(folder)
    progress("structures", 0.0)
    trial = Trial(model, seed)
    rows = []
    for index, (name, check) in enumerate(CHECKS.items()):
        progress(name, index / len(CHECKS))
        trial.progress = partial(_tell, progress, name, index)
        rows.append(CheckedProperty(name, measurement_of(check, trial)))
    return CheckedModel(summary_of(model), tuple(rows), time.monotonic() - started)


def load_folder(folder: Path) -> LoadedModel:
    """Return the model of a folder, opened as the driver opens it.

    Raises:
        RequestError: If there is no model in it.
        DriverError: If it cannot be opened.
    """
    if not folder.is_dir():
        raise RequestError(f"`folder` must be a model's folder, got '{folder}', which is none; correct the path")
    return LoadedModel(folder, files_of(folder))


def measurement_of(check: Callable[[Trial], Measurement], trial: Trial) -> Measurement:
    """Return what a check found; that a model fails in it is a failure of the check."""
    try:
        return check(trial)
    except DriverError as error:
        return Measurement(False, f"it could not be computed: {error}")


def summary_of(model: LoadedModel) -> str:
    """Return what a model is, on one line."""
    said = model.description
    layers = f" x {said.n_layers} layers" if said.has_layers else ""
    facts = (
        f"kind {said.kind.lower()}",
        f"species {', '.join(said.species)}",
        f"cutoff {said.cutoff:g} Å{layers}",
        type_word(model.dtype),
    )
    return f"{said.model_file}: {', '.join(facts)}"


def _tell(progress: LateProgress, name: str, index: int, part: float) -> None:
    progress(name, (index + part) / len(CHECKS))
