# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a network of the published format 1 gets as species, which its files do not say: codes or atomic numbers.

KLIFF calls a graph network by the names of its arguments, which are its own names for parts of a graph: `z` holds
atomic numbers, `species` numbers that KLIFF makes anew for each configuration, in the order of atomic numbers. The
driver calls by position. So names tell what KLIFF's networks get, and whether the driver can call them. Of other
networks it is found out by trying both, as far as that tells.

Source:
    KLIFF 1.0.1, `LightningTrainer.forward` in kliff/trainer/lightning_trainer.py, and `get_complete_graph` in
    kliff/transforms/configuration_transforms/graphs/radial_graph.cpp.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kim_torchml.engines import open_program
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.elements import ATOMIC_NUMBERS
from kim_torchml.model_files.model_folder import read_model_folder
from kim_torchml.model_files.model_toml import SPECIES_AS
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.process import settings
from kim_torchml.tools.kim_host.particles import KimParticles
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.request_error import RequestError

_CODES, _NUMBERS = SPECIES_AS
# Particles that both are tried for, and their distance in cutoffs.
_FEWEST, _SPACING = 8, 0.7
# What KLIFF calls the parts of a graph that networks take.
_ATOMIC_NUMBERS, _OWN_NUMBERS = "z", "species"
_PARTS = re.compile(
    rf"{_ATOMIC_NUMBERS}|{_OWN_NUMBERS}|coords|edge_index\d+|contributions|images|cell|n_layers|num_nodes|idx|batch|ptr"
)


def opened_with_its_species(
    folder: Path, names: Sequence[str], asked: str | None
) -> tuple[LoadedModel, tuple[str, ...]]:
    """Return the model of a folder of format 1, opened with what it gets as species, and what is to be said of that.

    Args:
        folder: The folder.
        names: Its files, as CMakeLists.txt lists them.
        asked: "codes" or "atomic numbers", what a user says; None for what can be found out.
    Raises:
        RequestError: If it must be said, or something else is known.
        DriverError: If the model cannot be opened, or the driver cannot call it as KLIFF does.
    """
    files = read_model_folder(folder, names, FILE_FORMATS)
    said = files.description
    if said.descriptor is not None:
        return _opened(folder, names, _CODES), ()
    inputs = make_inputs(files)
    arguments = open_program(files.program, said.model_file, torch.device("cpu"), inputs.signature).argument_names()
    if _is_called_by_kliff(said, arguments):
        known = _told_by_names(said, arguments)
        if asked not in (None, known):
            raise RequestError(
                f"`--species-as` must be {known} for {said.model_file}, whose first argument is {arguments[0]}: KLIFF "
                f"gives it {known}, got '{asked}'; leave it out"
            )
        return _opened(folder, names, known), _notes(said, arguments[0])
    if asked is not None:
        return _opened(folder, names, asked), ()
    return _tried(folder, names)


def _opened(folder: Path, names: Sequence[str], species_as: str) -> LoadedModel:
    return LoadedModel(folder, names, ElementsMap(SPECIES_AS[species_as], settings.ELEMENTS_MAP))


def _is_called_by_kliff(said: ModelDescription, arguments: Sequence[str]) -> bool:
    """Return whether a network's arguments have KLIFF's names, by which KLIFF calls it."""
    return said.has_layers and bool(arguments) and all(_PARTS.fullmatch(each) for each in arguments)


def _told_by_names(said: ModelDescription, arguments: Sequence[str]) -> str:
    """Return what a network gets as species whose arguments have KLIFF's names.

    Raises:
        DriverError: If the driver, which calls by position, cannot give what the names say.
    """
    edges = [f"edge_index{layer}" for layer in range(said.n_layers)]
    first = _OWN_NUMBERS if _OWN_NUMBERS in arguments and _ATOMIC_NUMBERS not in arguments else _ATOMIC_NUMBERS
    wanted = [first, "coords", *edges, "contributions"]
    if list(arguments) != wanted:
        raise DriverError(
            f"the arguments of forward in {said.model_file} must be {', '.join(wanted)}, in this order, as KIM models "
            f"are called by position, got {', '.join(arguments)}; KLIFF, which calls by name, works with any: change "
            "forward, and export it again"
        )
    ordered = sorted(said.species, key=ATOMIC_NUMBERS.__getitem__)
    if first == _OWN_NUMBERS and list(said.species) != ordered:
        raise DriverError(
            f"the elements in {said.file_name} must stand in the order of their atomic numbers, {' '.join(ordered)}, "
            f"for a network whose first argument is {first}, as KLIFF numbers them so, got {' '.join(said.species)}; "
            "write them in that order"
        )
    return _NUMBERS if first == _ATOMIC_NUMBERS else _CODES


def _notes(said: ModelDescription, first: str) -> tuple[str, ...]:
    if first == _ATOMIC_NUMBERS:
        return (f"the network gets atomic numbers: its first argument is {first}, by which KLIFF calls them",)
    if len(said.species) == 1:
        return ()
    return (
        f"KLIFF numbers what it calls {first} anew for each configuration: energies are KLIFF's for those that have "
        f"all of {', '.join(said.species)}, and others where an element is missing; a network that takes z is the cure",
    )


def _tried(folder: Path, names: Sequence[str]) -> tuple[LoadedModel, tuple[str, ...]]:
    """Return a model with what it can be computed with, where that tells what it gets.

    Raises:
        RequestError: If it can be computed with both, gives different energies, and nothing says which are right.
        DriverError: If it cannot be computed with either.
    """
    models: dict[str, LoadedModel] = {}
    energies: dict[str, float] = {}
    errors: list[DriverError] = []
    for species_as in SPECIES_AS:
        try:
            models[species_as] = _opened(folder, names, species_as)
            energies[species_as] = models[species_as].compute(_some_particles(models[species_as])).energy
        except DriverError as error:
            errors.append(error)
    if not energies:
        raise errors[0]
    if len(energies) == 1:
        (works,) = energies
        other = _CODES if works == _NUMBERS else _NUMBERS
        return models[works], (f"the network gets {works}: it cannot be computed with {other}",)
    if energies[_CODES] == energies[_NUMBERS]:
        return models[_CODES], ()
    if settings.wants_atomic_numbers():
        return models[_NUMBERS], (f"the network gets {_NUMBERS}, as {settings.ELEMENTS_MAP} says",)
    model = models[_CODES]
    sign = model.opened.sign_of_atomic_numbers
    raise RequestError(
        f"`--species-as` must say what the network in {model.description.model_file} gets as species, got nothing: it "
        f"can be computed with both, energies differ{f', and {sign}' if sign else ''}; say --species-as codes or "
        f"--species-as '{_NUMBERS}'"
    )


def _some_particles(model: LoadedModel) -> KimParticles:
    """Return particles of all species on a lattice, all of which contribute and have neighbours."""
    n = max(len(model.species), _FEWEST)
    side = range(math.ceil(n ** (1 / 3)))
    places = np.array([[x, y, z] for x in side for y in side for z in side], dtype=float)[:n]
    codes = np.arange(n, dtype=np.int32) % len(model.species)
    return KimParticles(_SPACING * model.description.cutoff * places, codes, np.ones(n, dtype=np.int32))
