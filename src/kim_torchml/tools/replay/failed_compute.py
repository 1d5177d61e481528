# SPDX-License-Identifier: LGPL-2.1-or-later
"""A configuration that a failure left behind (driver/failure_file.py), computed again through kimpy.

Needs ASE, kimpy and scipy: the extra `verify`.
"""

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ase.io
import kimpy
import numpy as np
from scipy.spatial import cKDTree

from kim_torchml.driver.failure_file import UNKNOWN_SPECIES
from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.tools.kim_host.model import ENERGY, FORCES, OUTPUTS, PARTICLE_ENERGIES, argument, shape_of
from kim_torchml.tools.programs.signals import held_back

# Å. Beyond it, particles are taken to be there; models find out from their coordinates that they are no neighbours.
FARTHEST = 1e100

_COLUMNS = ("contributing", "species_code")


@dataclass(frozen=True)
class Saved:
    """A configuration as it was saved.

    Attributes:
        symbols: Element symbols, [n]; X where the simulator gave a species code that the model has not.
        coordinates: Shape [n, 3], Å.
        contributing: Shape [n], int32.
        species_codes: As the simulator gave them, [n], int32.
        facts: What else the file says: `step`, `error`, `model` and more.
        parameters: Values of the model's parameters that the simulator had set, by KIM's names.
    """

    symbols: Sequence[str]
    coordinates: np.ndarray
    contributing: np.ndarray
    species_codes: np.ndarray
    facts: dict[str, str]
    parameters: dict[str, list[float]]

    def __len__(self) -> int:
        return len(self.symbols)


@dataclass(frozen=True)
class Replayed:
    """What the model gave.

    Attributes:
        energy: eV.
        forces: Shape [n, 3], eV/Å; None if the model does not give them.
        particle_energies: Shape [n], eV; None if the model does not give them.
    """

    energy: float
    forces: np.ndarray | None
    particle_energies: np.ndarray | None


def read_saved(path: Path) -> Saved:
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
    # ASE's reader raises whatever the line at hand brings about.
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
    return Saved(
        atoms.get_chemical_symbols(),
        atoms.positions.copy(),
        atoms.arrays["contributing"].astype(np.int32),
        atoms.arrays["species_code"].astype(np.int32),
        facts,
        parameters,
    )


def _not_an_element(error: Exception, content: str) -> str:
    """Return the species that ASE did not know, or an empty string if its reader failed otherwise."""
    first_words = (line.split()[0] for line in content.splitlines()[2:] if line.strip())
    # It looks for them with a capital letter.
    unknown = (word for word in first_words if error.args == (word.capitalize(),))
    return next(unknown, "") if isinstance(error, KeyError) else ""


def _read_parameters(text: str) -> dict[str, list[float]] | None:
    """Return values by name, or None if the text is nothing of the sort."""
    try:
        parameters = json.loads(text)
    except ValueError:
        return None
    if not isinstance(parameters, dict) or not all(isinstance(values, list) for values in parameters.values()):
        return None
    numbers = all(isinstance(value, int | float) for values in parameters.values() for value in values)
    return parameters if numbers else None


class ReplayModel:
    """A model that is run through kimpy, in Å and eV."""

    def __init__(self, name: str) -> None:
        """Create it, and its arguments: only then the driver loads the model.

        Raises:
            DriverError: If KIM cannot; the driver's own reason, if there is one, is on stderr by then.
        """
        # The failure is there already.
        os.environ.pop(settings.DUMP, None)
        self.name = name
        try:
            # KIM-API 2.3 leaves a model's files behind where its driver breaks off.
            with held_back():
                _, self._model = kimpy.model.create(
                    kimpy.numbering.zeroBased,
                    kimpy.length_unit.A,
                    kimpy.energy_unit.eV,
                    kimpy.charge_unit.unused,
                    kimpy.temperature_unit.unused,
                    kimpy.time_unit.unused,
                    name,
                )
            self._arguments = self._model.compute_arguments_create()
        except RuntimeError as error:
            raise DriverError(
                f"KIM cannot create the model {name}: {error}; if no other line says why, see whether it is installed: "
                "kim-api-collections-management list"
            ) from error

    def restore(self, parameters: Mapping[str, Sequence[float]]) -> None:
        """Set parameters, as a simulator had set them.

        Args:
            parameters: Values by KIM's names.
        Raises:
            DriverError: If the model has not these parameters, or does not take the values.
        """
        metadata = [self._model.get_parameter_metadata(i) for i in range(self._model.get_number_of_parameters())]
        known = {name: (index, extent, kind) for index, (kind, extent, name, _) in enumerate(metadata)}
        for name, values in parameters.items():
            index, extent, kind = known.get(name, (-1, 0, None))
            if extent != len(values):
                raise DriverError(
                    f"the model {self.name} must have the parameter `{name}` with {len(values)} values, which was set "
                    f"when this was saved, got {extent}; install the model as it was then"
                )
            number = int if kind == kimpy.data_type.Integer else float
            for place, value in enumerate(values):
                self._model.set_parameter(index, place, number(value))
        if parameters:
            self._model.clear_then_refresh()
        for name, values in parameters.items():
            self._expect(name, known[name], values)

    def _expect(self, name: str, parameter: tuple[int, int, Any], values: Sequence[float]) -> None:
        """Raise DriverError unless a parameter has these values: kimpy does not tell whether a refresh failed."""
        index, extent, kind = parameter
        read = self._model.get_parameter_int if kind == kimpy.data_type.Integer else self._model.get_parameter_double
        if not np.array_equal([read(index, place) for place in range(extent)], values, equal_nan=True):
            raise DriverError(
                f"the model {self.name} must take the values of the parameter `{name}` that were set when this was "
                "saved, got a refusal, which another line on stderr explains; install the model as it was then"
            )

    def species_codes(self, saved: Saved) -> np.ndarray:
        """Return the model's codes for the particles' species, int32, [n]; unknown ones keep what the simulator gave.

        Raises:
            DriverError: If the model has not all of the species.
        """
        codes: np.ndarray = saved.species_codes.copy()
        symbols = np.array(saved.symbols)
        missing = []
        for symbol in sorted(set(saved.symbols) - {UNKNOWN_SPECIES}):
            supported, code = self._model.get_species_support_and_code(getattr(kimpy.species_name, symbol))
            if not supported:
                missing.append(symbol)
            codes[symbols == symbol] = code
        if missing:
            raise DriverError(
                f"the model {self.name} must have all species of the configuration, but lacks {', '.join(missing)}; "
                f"replay it with the model that failed ({saved.facts.get('model', 'see the file')})"
            )
        return codes

    def compute(self, saved: Saved) -> Replayed | None:
        """Compute all that the model gives.

        Args:
            saved: The configuration.
        Returns:
            The results, or None if the compute failed; then the driver has said why on stderr.
        """
        n = len(saved)
        inputs = {
            "numberOfParticles": np.array([n], dtype=np.int32),
            "particleSpeciesCodes": self.species_codes(saved),
            "particleContributing": saved.contributing,
            "coordinates": saved.coordinates,
        }
        # All of them, not those alone that were asked for: a virial can fail where the forces do not.
        outputs = {name: np.full(shape_of(name, n), math.nan) for name in OUTPUTS if self._supports(name)}
        for name, values in (inputs | outputs).items():
            self._arguments.set_argument_pointer(argument(name), values)
        self._arguments.set_callback(kimpy.compute_callback_name.GetNeighborList, self._neighbours(saved), {})
        try:
            self._model.compute(self._arguments, False)
        except RuntimeError:
            # kimpy knows only that it failed; the driver's line is on stderr.
            return None
        return Replayed(float(outputs[ENERGY][0]), outputs.get(FORCES), outputs.get(PARTICLE_ENERGIES))

    def _supports(self, output: str) -> bool:
        status = self._arguments.get_argument_support_status(argument(output))
        return bool(status == kimpy.support_status.optional)

    def _neighbours(self, saved: Saved) -> Any:
        """Return a callback that gives the neighbours of a particle, all particles' alike, within the cutoff."""
        cutoffs, _ = self._model.get_neighbor_list_cutoffs_and_hints()
        lists = neighbour_lists(saved.coordinates, float(max(cutoffs)))

        def neighbours_of(_data: object, _cutoffs: object, _list: int, particle: int) -> tuple[np.ndarray, int]:
            return lists[particle], 0

        return neighbours_of


def neighbour_lists(coordinates: np.ndarray, cutoff: float) -> list[np.ndarray]:
    """Return each particle's neighbours within a cutoff; the particles are all there are, without periodicity.

    Args:
        coordinates: Shape [n, 3], Å. With one that is not finite there are no neighbours: the driver refuses such
            coordinates before it asks for any.
        cutoff: Å.
    Returns:
        n arrays of int32.
    """
    n = len(coordinates)
    if n == 0 or not np.isfinite(coordinates).all():
        return [np.zeros(0, dtype=np.int32)] * n
    # Particles of a simulation that has blown up may be so far apart that the squares of distances are not finite.
    within = np.clip(coordinates, -FARTHEST, FARTHEST)
    pairs = cKDTree(within).query_pairs(cutoff, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]])
    first, second = both[np.lexsort((both[:, 1], both[:, 0]))].T
    starts = np.searchsorted(first, np.arange(1, n))
    return [np.ascontiguousarray(part, dtype=np.int32) for part in np.split(second, starts)]
