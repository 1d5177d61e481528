# SPDX-License-Identifier: LGPL-2.1-or-later
"""A compute that failed, read from the file that the driver saved (driver/failure_file.py)."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import ase.io
import numpy as np

from kim_torchml.driver.failure_file import INFLUENCE_DISTANCE, RANKS
from kim_torchml.errors import DriverError, shortened
from kim_torchml.process import settings

_COLUMNS = ("contributing", "species_code")


@dataclass(frozen=True)
class FailedCompute:
    """What the simulator gave to KIM when a compute failed, unchecked.

    Attributes:
        symbols: element symbols, shape [n]; X where the simulator gave a species code that the model does not have.
        coordinates: Cartesian coordinates, which may be NaN or infinite, shape [n, 3], Å.
        contributing: the simulator's particleContributing, shape [n], int32.
        species_codes: the simulator's particleSpeciesCodes, shape [n], int32.
        facts: further entries of the file: `step`, `error`, `model` and more.
        parameters: values of the model's parameters that the simulator had set, by KIM's names.
        influence_distance: influence distance that KIM had been told, Å; None if the file does not say it.
    """

    symbols: Sequence[str]
    coordinates: np.ndarray
    contributing: np.ndarray
    species_codes: np.ndarray
    facts: dict[str, str]
    parameters: dict[str, list[float]]
    influence_distance: float | None = None

    @property
    def is_of_a_rank(self) -> bool:
        """Whether it is the part of one of several ranks: particles of the others are nobody's images here."""
        return RANKS in self.facts

    def __len__(self) -> int:
        return len(self.symbols)


def read_failed_compute(path: Path) -> FailedCompute:
    """Read a file that driver/failure_file.py has written.

    Raises:
        DriverError: If it cannot be read or is another file.
    """
    origin = f"use a file that the driver saved in the folder that {settings.DUMP} names"
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DriverError(f"cannot read {path}: {error.strerror or error}; {origin}") from error
    except UnicodeDecodeError as error:
        raise DriverError(f"{path} must be an extended XYZ file, got one that is not text; {origin}") from error
    try:
        atoms = cast(ase.Atoms, ase.io.read(io.StringIO(content), index=-1, format="extxyz"))
    # ASE's reader can raise any exception, depending on what is wrong with the file.
    except Exception as error:
        if species := _not_an_element(error, content):
            raise DriverError(
                f"{path} must have symbols of elements as species, as the driver's models have, got '{species}'; "
                f"{origin}"
            ) from error
        reason = f"{type(error).__name__}: {error}".strip().removesuffix(":")
        raise DriverError(f"{path} must be an extended XYZ file, got something else ({reason}); {origin}") from error
    if not len(atoms):
        raise DriverError(f"{path} must have particles, got none; {origin}")
    for name in _COLUMNS:
        if name not in atoms.arrays:
            raise DriverError(f"{path} must have the column `{name}`: what the simulator gave to KIM; {origin}")
    facts = {str(key): str(value) for key, value in atoms.info.items()}
    parameters = _read_parameters(facts.pop("parameters", "{}"))
    if parameters is None:
        raise DriverError(
            f"`parameters` in {path} must be JSON, lists of numbers by name, got something else; {origin}"
        )
    return FailedCompute(
        atoms.get_chemical_symbols(),
        atoms.positions.copy(),
        atoms.arrays["contributing"].astype(np.int32),
        atoms.arrays["species_code"].astype(np.int32),
        facts,
        parameters,
        _read_influence_distance(facts, path, origin),
    )


def _read_influence_distance(facts: dict[str, str], path: Path, origin: str) -> float | None:
    """Return the influence distance, Å, or None in a file without that entry, which an older driver has saved."""
    text = facts.get(INFLUENCE_DISTANCE)
    if text is None:
        return None
    try:
        distance = float(text)
    except ValueError:
        distance = math.nan
    if not 0.0 < distance < math.inf:
        raise DriverError(
            f"`{INFLUENCE_DISTANCE}` in {path} must be a positive number, got '{shortened(text, 60)}'; {origin}"
        )
    return distance


def _not_an_element(error: Exception, content: str) -> str:
    """Return the species that ASE does not know, or an empty string if its reader failed for another reason."""
    first_words = (line.split()[0] for line in content.splitlines()[2:] if line.strip())
    # ASE looks a species up with a capital letter, and its KeyError names it like that.
    unknown = (word for word in first_words if error.args == (word.capitalize(),))
    return next(unknown, "") if isinstance(error, KeyError) else ""


def _read_parameters(text: str) -> dict[str, list[float]] | None:
    """Return the values by name, or None if the text is something other than JSON with lists of numbers by name."""
    try:
        parameters = json.loads(text)
    except ValueError:
        return None
    if not isinstance(parameters, dict) or not all(isinstance(values, list) for values in parameters.values()):
        return None
    numbers = all(isinstance(value, int | float) for values in parameters.values() for value in values)
    return parameters if numbers else None
