# SPDX-License-Identifier: LGPL-2.1-or-later
"""A compute that has failed, saved as one extended XYZ file: what `kim-torchml replay` reads.

The shim calls `save_failure` with what the simulator gave, unchecked: coordinates may be NaN, species codes wrong.
"""

import itertools
import json
import os
import re
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kim_torchml import __version__
from kim_torchml.errors import DriverError, printable
from kim_torchml.process import settings
from kim_torchml.process.rank import find_rank

# A host that goes on after failures, in a loop perhaps, must not fill the disk.
MOST_PER_PROCESS = 5

# Species of a particle whose code the model does not have; ASE reads it as an unknown element.
UNKNOWN_SPECIES = "X"

# Entry with the influence distance, Å.
INFLUENCE_DISTANCE = "influence_distance"

# Entry with the number of processes that shared the system, if it was not one.
RANKS = "ranks"

COLUMNS = "species:S:1:pos:R:3:contributing:I:1:particle_id:I:1:species_code:I:1"

_saved = 0
_lock = threading.Lock()


def save_failure(
    message: str,
    model: str,
    model_file: str,
    parameters: Mapping[str, Sequence[float]],
    step: int,
    requested: Sequence[str],
    species: Sequence[str],
    coordinates: np.ndarray,
    to_angstrom: float,
    species_codes: np.ndarray,
    contributing: np.ndarray,
    influence_distance: float,
) -> tuple[str, str]:
    """Save a configuration in the folder that KIM_TORCHML_DUMP names.

    Args:
        message: The error.
        model: KIM id of the model.
        model_file: Name of its model file.
        parameters: Values of those that the simulator has set, by KIM's names.
        step: Number of computes that this model has had, this one included.
        requested: KIM's names of the outputs that were asked for.
        species: Element symbols; the index is KIM's species code.
        coordinates: Shape [n, 3], in the simulator's unit of length.
        to_angstrom: One of those units in Å.
        species_codes: Shape [n].
        contributing: Shape [n].
        influence_distance: What the driver told KIM: how deep the halo of non-contributing particles is, in the
            simulator's unit of length.
    Returns:
        What to add to the error's line, and what to say on a line of its own; either may be empty.
    """
    global _saved
    folder = settings.dump_folder()
    facts = {
        "pbc": "F F F",
        "model": model,
        "model_file": model_file,
        "driver_version": __version__,
        "step": str(step),
        "step_counts": "computes of this model in its process; KIM does not tell the simulator's step",
        "requested": " ".join(requested),
        # A halo that is deep enough where images are folded is too shallow where they are not.
        INFLUENCE_DISTANCE: str(influence_distance * to_angstrom),
        RANKS: _ranks(),
        "settings": settings.variables_that_change_results(),
        "parameters": json.dumps(parameters) if parameters else "",
        "error": message,
    }
    with _lock:
        if not folder or _saved == MOST_PER_PROCESS:
            return "", ""
        try:
            rows = _rows(_symbols(species, species_codes), coordinates * to_angstrom, contributing, species_codes)
            path = _write(Path(folder).absolute(), _file_name(model, step), _lines(facts, len(coordinates), rows))
        except (OSError, DriverError) as error:
            return "", _not_saved(folder, error)
        _saved += 1
        return _saved_in(path, model, is_last=_saved == MOST_PER_PROCESS), ""


def _symbols(species: Sequence[str], codes: np.ndarray) -> list[str]:
    return [species[code] if 0 <= code < len(species) else UNKNOWN_SPECIES for code in codes.tolist()]


def _ranks() -> str:
    """Return how many processes share the system; nothing for one."""
    size = find_rank().size
    return str(size) if size > 1 else ""


def _not_saved(folder: str, error: Exception) -> str:
    return printable(
        f"the configuration could not be saved in '{folder}', which `{settings.DUMP}` names: {error}; "
        "name a folder that can be written"
    )


def _saved_in(path: Path, model: str, is_last: bool) -> str:
    last = f" (the last of {MOST_PER_PROCESS} that one process saves)" if is_last else ""
    command = f"kim-torchml replay {shlex.quote(str(path))} {model}"
    return printable(f"; the configuration was saved in {path}{last}, replay it with: {command}")


def _file_name(model: str, step: int) -> str:
    rank = find_rank().rank
    tag = "" if rank is None else f"-rank{rank}"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', model)}{tag}-pid{os.getpid()}-compute{step}"


def _lines(facts: dict[str, str], n: int, rows: Iterator[str]) -> Iterator[str]:
    # ASE's reader takes an empty value and the next key for one word.
    told = " ".join(f"{key}={_quoted(value)}" for key, value in facts.items() if value)
    yield f"{n}\n"
    yield f"Properties={COLUMNS} {told}\n"
    yield from rows


def _quoted(text: str) -> str:
    """Return a value of the comment line; it has to stay on one line."""
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _rows(
    symbols: Sequence[str], coordinates: np.ndarray, contributing: np.ndarray, codes: np.ndarray
) -> Iterator[str]:
    # With 17 digits a number that is read is the number that was written.
    columns = zip(symbols, coordinates.tolist(), contributing.tolist(), codes.tolist(), strict=True)
    for particle, (symbol, (x, y, z), flag, code) in enumerate(columns):
        yield f"{symbol} {x:.17g} {y:.17g} {z:.17g} {flag} {particle} {code}\n"


def _write(folder: Path, name: str, lines: Iterator[str]) -> Path:
    """Write a file that appears whole, under a name that nothing had; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.{threading.get_ident()}.unfinished"
    try:
        with unfinished.open("x", encoding="utf-8") as file:
            file.writelines(lines)
        return _publish(unfinished, folder / name)
    finally:
        unfinished.unlink(missing_ok=True)


def _publish(unfinished: Path, wanted: Path) -> Path:
    for number in itertools.count(1):
        path = wanted.with_name(f"{wanted.name}{'' if number == 1 else f'-{number}'}.xyz")
        try:
            # Unlike renaming, this never takes another file's place: on another machine a process may have our number.
            path.hardlink_to(unfinished)
        except FileExistsError:
            continue
        except OSError:
            # Some file systems have no hard links.
            if path.exists():
                continue
            unfinished.rename(path)
        return path
    raise AssertionError("itertools.count ends nowhere")
